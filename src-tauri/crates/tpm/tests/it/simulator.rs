//! swtpm, started for one test, in a folder and on a port of its own.

use crate::log::Line;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;
use tpm::{Socket, Tpm, Transport as _};

/// Long: other tests may have the processor.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) struct Simulator {
    folder: TempDir,
    process: Child,
    address: SocketAddr,
}

impl Simulator {
    /// One without a certificate.
    pub(crate) fn plain() -> Self {
        Self::start(tempfile::tempdir().unwrap())
    }

    /// One with a certificate of a maker that exists in its folder alone.
    pub(crate) fn certified() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(path("ca")).unwrap();
        std::fs::write(path("localca.options"), "").unwrap();
        let authority = format!(
            "statedir={0}\nsigningkey={0}/signkey.pem\nissuercert={0}/issuercert.pem\ncertserial={0}/certserial\n",
            path("ca")
        );
        std::fs::write(path("localca.conf"), authority).unwrap();
        let setup = format!(
            "create_certs_tool=/usr/bin/swtpm_localca\ncreate_certs_tool_config={}\ncreate_certs_tool_options={}\n",
            path("localca.conf"),
            path("localca.options")
        );
        std::fs::write(path("setup.conf"), setup).unwrap();
        let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
        let out = Command::new("swtpm_setup")
            .args(["--tpm2", "--create-ek-cert", "--overwrite", "--pcr-banks", "sha256", "--runas", user.trim()])
            .args(["--tpmstate", &path("."), "--config", &path("setup.conf")])
            .output()
            .expect("swtpm_setup is installed (Debian's swtpm-tools)");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
        Self::start(folder)
    }

    fn start(folder: TempDir) -> Self {
        let (process, address) = run(folder.path(), "not-need-init,startup-clear");
        Self { folder, process, address }
    }

    /// Ends it and starts it again with what it remembers, as a computer that is switched off and on.
    pub(crate) fn restart(&mut self) {
        self.start_with("not-need-init,startup-clear");
    }

    /// As [`Self::restart`], and no firmware is there to start the TPM.
    pub(crate) fn restart_without_firmware(&mut self) {
        self.start_with("not-need-init");
    }

    fn start_with(&mut self, flags: &str) {
        self.end();
        (self.process, self.address) = run(self.folder.path(), flags);
    }

    pub(crate) fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn tpm(&self) -> Tpm<Socket> {
        Tpm::new(Socket::connect(self.address, PATIENCE).unwrap())
    }

    /// The maker's root certificate and the one between it and the TPM's, in DER.
    pub(crate) fn maker(&self) -> (Vec<u8>, Vec<u8>) {
        let read = |name: &str| der(&std::fs::read_to_string(self.folder.path().join("ca").join(name)).unwrap());
        (read("swtpm-localca-rootca-cert.pem"), read("issuercert.pem"))
    }

    /// Sends a command as bytes and wants it done. Nobody else may be connected: it listens to one at a time.
    pub(crate) fn command(&self, tag: u16, code: u32, rest: &[u8]) {
        let mut command = tag.to_be_bytes().to_vec();
        command.extend((10 + rest.len() as u32).to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend(rest);
        let answer = Socket::connect(self.address, PATIENCE).unwrap().exchange(&command).unwrap();
        assert_eq!(answer[6..10], [0; 4], "command {code:#x}");
    }

    /// Starts the computer that never was: extends the registers as its log says.
    pub(crate) fn boot(&self, lines: &[Line]) {
        for line in lines {
            let mut rest = line.register.to_be_bytes().to_vec();
            rest.extend([0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0]);
            rest.extend([0, 0, 0, 1, 0, 0x0b]);
            rest.extend(line.digest);
            self.command(0x8002, 0x182, &rest);
        }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(folder: &Path, flags: &str) -> (Child, SocketAddr) {
    // A port that is free now may be taken a moment later; then it ends, and another is tried.
    for _ in 0..20 {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", flags, "--tpmstate"])
            .arg(format!("dir={}", folder.display()))
            .arg("--server")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm is installed (Debian's swtpm)");
        while process.try_wait().unwrap().is_none() {
            if Socket::connect(address, PATIENCE).is_ok() {
                return (process, address);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    panic!("swtpm does not start");
}

/// The bytes of a certificate's text form, by the tests' OpenSSL.
fn der(text: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut openssl = Command::new("openssl")
        .args(["x509", "-outform", "DER"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let out = openssl.wait_with_output().unwrap();
    assert!(out.status.success());
    out.stdout
}
