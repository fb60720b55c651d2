//! swtpm, a TPM in software, started for one test: in a folder and on a port of its own. The tests of the crate `tpm` take this file as it is.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use tpm::{Socket, Tpm, Transport as _};

/// Long: other tests may have the processor.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// A TPM. Listens to one program at a time.
pub struct Simulator {
    folder: TempDir,
    process: Child,
    address: SocketAddr,
}

impl Simulator {
    /// One without a certificate.
    pub fn plain() -> Self {
        Self::start(tempfile::tempdir().unwrap())
    }

    /// One whose endorsement keys, RSA and P-384, a maker certifies that exists in its folder alone.
    pub fn certified() -> Self {
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
    pub fn restart(&mut self) {
        self.start_with("not-need-init,startup-clear");
    }

    /// As [`Self::restart`], and no firmware is there to start the TPM.
    pub fn restart_without_firmware(&mut self) {
        self.start_with("not-need-init");
    }

    fn start_with(&mut self, flags: &str) {
        self.end();
        (self.process, self.address) = run(self.folder.path(), flags);
    }

    pub fn end(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn tpm(&self) -> Tpm<Socket> {
        Tpm::new(Socket::connect(self.address, PATIENCE).unwrap())
    }

    /// The maker's root certificate, in DER.
    pub fn root(&self) -> Vec<u8> {
        std::fs::read(self.der("swtpm-localca-rootca-cert.pem")).unwrap()
    }

    /// The certificate between that one and the TPM's own, in DER.
    pub fn between(&self) -> Vec<u8> {
        std::fs::read(self.maker()).unwrap()
    }

    /// A file with the certificate that signed the TPM's own, in DER.
    pub fn maker(&self) -> PathBuf {
        self.der("issuercert.pem")
    }

    /// A file with the maker's root certificate, in DER.
    pub fn root_file(&self) -> PathBuf {
        self.der("swtpm-localca-rootca-cert.pem")
    }

    fn der(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name).with_extension("der");
        let out = Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(self.folder.path().join("ca").join(name))
            .arg("-out")
            .arg(&path)
            .output()
            .expect("openssl is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        path
    }

    /// Sends a command as bytes and wants it done. Nobody else may be connected: it listens to one at a time.
    pub fn command(&self, tag: u16, code: u32, rest: &[u8]) {
        let mut command = tag.to_be_bytes().to_vec();
        command.extend((10 + rest.len() as u32).to_be_bytes());
        command.extend(code.to_be_bytes());
        command.extend(rest);
        let answer = Socket::connect(self.address, PATIENCE).unwrap().exchange(&command).unwrap();
        assert_eq!(answer[6..10], [0; 4], "command {code:#x}");
    }

    /// Extends a register of the SHA-256 bank, as firmware does.
    pub fn extend(&self, register: u32, digest: &[u8; 32]) {
        let mut rest = register.to_be_bytes().to_vec();
        rest.extend(NO_PASSWORD);
        rest.extend([0, 0, 0, 1, 0, 0x0b]);
        rest.extend(digest);
        self.command(0x8002, 0x182, &rest);
    }

    /// Writes into its memory under this index, as a maker does.
    pub fn write(&self, index: u32, content: &[u8]) {
        // No password; SHA-256; for the platform to write, for everybody to read, no lock by wrong passwords; no policy.
        let mut rest = PLATFORM.to_vec();
        rest.extend(NO_PASSWORD);
        rest.extend([0, 0, 0, 14]);
        rest.extend(index.to_be_bytes());
        rest.extend([0, 0x0b, 0x42, 0x07, 0, 0x01, 0, 0]);
        rest.extend((content.len() as u16).to_be_bytes());
        self.command(0x8002, 0x12a, &rest);
        for (number, piece) in content.chunks(512).enumerate() {
            let mut rest = PLATFORM.to_vec();
            rest.extend(index.to_be_bytes());
            rest.extend(NO_PASSWORD);
            rest.extend((piece.len() as u16).to_be_bytes());
            rest.extend(piece);
            rest.extend((number as u16 * 512).to_be_bytes());
            self.command(0x8002, 0x137, &rest);
        }
    }

    /// Forgets what stands under this index.
    pub fn forget(&self, index: u32) {
        let mut rest = PLATFORM.to_vec();
        rest.extend(index.to_be_bytes());
        rest.extend(NO_PASSWORD);
        self.command(0x8002, 0x122, &rest);
    }
}

/// The platform's hierarchy, which firmware holds.
const PLATFORM: [u8; 4] = [0x40, 0, 0, 0x0c];
/// One authorisation: by the empty password.
const NO_PASSWORD: [u8; 13] = [0, 0, 0, 9, 0x40, 0, 0, 9, 0, 0, 0, 0, 0];

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
