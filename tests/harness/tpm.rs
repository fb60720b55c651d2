//! swtpm, a TPM in software, started for one test: in a folder and on a port of its own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A TPM whose endorsement key a maker certifies that exists in its folder alone. Listens to one program at a time.
pub struct Simulator {
    folder: TempDir,
    process: Child,
    address: SocketAddr,
}

impl Simulator {
    /// A new one.
    pub fn start() -> Self {
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
        let (process, address) = run(folder.path());
        Self { folder, process, address }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A file with its maker's certificate, in DER.
    pub fn maker(&self) -> PathBuf {
        let path = self.folder.path().join("maker.der");
        let out = Command::new("openssl")
            .args(["x509", "-outform", "DER", "-in"])
            .arg(self.folder.path().join("ca/issuercert.pem"))
            .arg("-out")
            .arg(&path)
            .output()
            .expect("openssl is installed");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        path
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn run(folder: &Path) -> (Child, SocketAddr) {
    // A port that is free now may be taken a moment later; then it ends, and another is tried.
    for _ in 0..20 {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let mut process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear", "--tpmstate"])
            .arg(format!("dir={}", folder.display()))
            .arg("--server")
            .arg(format!("type=tcp,port={},bindaddr=127.0.0.1", address.port()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("swtpm is installed (Debian's swtpm)");
        while process.try_wait().unwrap().is_none() {
            if TcpStream::connect(address).is_ok() {
                return (process, address);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
    panic!("swtpm does not start");
}
