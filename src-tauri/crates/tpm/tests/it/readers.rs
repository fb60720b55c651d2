//! Computers described by their files.

use evidence::{Binding, Evidence};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs;
use std::io::Write as _;
use std::thread::JoinHandle;
use tempfile::{TempDir, tempdir};
use tpm::guest::{self, Incomplete, NoEvidence, Provider, REPORTS, Report, ReportError, report, report_in};
use tpm::{Device, Machine, Presence, Transport as _, boot_log};

fn computer(files: &[(&str, &[u8])]) -> TempDir {
    let root = tempdir().unwrap();
    for (path, content) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    root
}

/// A folder in which a kernel makes reports: a question counts up, and so do those of `others` before the report is read. With it comes what
/// was asked.
fn guest(files: &[(&str, &[u8])], report: &[u8], others: u64) -> (TempDir, JoinHandle<Vec<u8>>) {
    let folder = computer(files);
    let path = |name| folder.path().join(name);
    let (question, count, out) = (path("inblob"), path("generation"), path("outblob"));
    fs::write(&count, "41\n").unwrap();
    for pipe in [&question, &out] {
        mknodat(CWD, pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
    let report = report.to_vec();
    // Opening waits for whoever writes the question, and then for whoever reads the report.
    let kernel = std::thread::spawn(move || {
        let asked = fs::read(question).unwrap();
        fs::write(count, format!("{}\n", 42 + others)).unwrap();
        // Whoever has read enough closes it.
        let _ = fs::OpenOptions::new().write(true).open(out).unwrap().write_all(&report);
        asked
    });
    (folder, kernel)
}

const SECURE_BOOT: &str = "sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";

#[test]
fn a_tpm_is_absent_too_old_or_usable() {
    let look = |files: &[(&str, &[u8])]| Presence::look(computer(files).path());
    assert_eq!(look(&[]), Presence::Absent);
    assert_eq!(look(&[("sys/class/tpm/tpm0/tpm_version_major", b"1\n")]), Presence::TooOld);
    assert_eq!(look(&[("sys/class/tpm/tpm0/tpm_version_major", b"2\n")]), Presence::Absent);
    assert_eq!(look(&[("dev/tpmrm0", b"")]), Presence::Usable);
}

#[test]
fn a_tpm_that_this_user_may_not_open_comes_with_what_to_do() {
    use std::os::unix::fs::PermissionsExt as _;
    let root = computer(&[("dev/tpmrm0", b"")]);
    fs::set_permissions(root.path().join("dev/tpmrm0"), fs::Permissions::from_mode(0o000)).unwrap();
    match Presence::look(root.path()) {
        Presence::NotAllowed { remedy } => assert!(remedy.contains("usermod -aG tss")),
        // Root may open everything, and a folder for writing nobody.
        Presence::Usable if rustix::process::geteuid().is_root() => {}
        other => panic!("{other:?}"),
    }
    let root = tempdir().unwrap();
    fs::create_dir_all(root.path().join("dev/tpmrm0")).unwrap();
    assert!(matches!(Presence::look(root.path()), Presence::Broken { .. }));
}

#[test]
fn secure_boot_is_on_off_or_unknown() {
    let look = |files: &[(&str, &[u8])]| Machine::look(computer(files).path());
    assert_eq!(look(&[(SECURE_BOOT, &[6, 0, 0, 0, 1])]).secure_boot, Some(true));
    assert_eq!(look(&[(SECURE_BOOT, &[6, 0, 0, 0, 0])]).secure_boot, Some(false));
    for unclear in [&[6, 0, 0, 0][..], &[6, 0, 0, 0, 2], &[], &[6, 0, 0, 0, 1, 1]] {
        assert_eq!(look(&[(SECURE_BOOT, unclear)]).secure_boot, None);
    }
    let old = look(&[("sys/class/x", b"")]);
    assert_eq!((old.efi, old.secure_boot), (Some(false), None));
    assert_eq!(look(&[]), Machine::default());
}

#[test]
fn guests_and_hosts_of_isolated_processors_are_told_apart() {
    let look = |files: &[(&str, &[u8])]| Machine::look(computer(files).path());
    let ordinary = look(&[("proc/cpuinfo", b"processor : 0\nflags\t\t: fpu vme sse\n")]);
    assert_eq!((ordinary.tdx_guest, ordinary.snp_guest), (false, false));
    assert_eq!((ordinary.tdx_host, ordinary.snp_host), (Some(false), Some(false)));
    assert!(look(&[("dev/tdx_guest", b"")]).tdx_guest);
    assert!(look(&[("proc/cpuinfo", b"flags : fpu tdx_guest\n")]).tdx_guest);
    assert!(look(&[("dev/sev-guest", b"")]).snp_guest);
    let epyc = look(&[
        ("proc/cpuinfo", b"flags : fpu sev sev_es sev_snp\n"),
        ("sys/module/kvm_amd/parameters/sev_snp", b"Y\n"),
    ]);
    assert_eq!((epyc.snp_host, epyc.snp_guest), (Some(true), false));
    let off =
        look(&[("proc/cpuinfo", b"flags : fpu tdx_host_platform\n"), ("sys/module/kvm_intel/parameters/tdx", b"N\n")]);
    assert_eq!(off.tdx_host, Some(false));
}

#[test]
fn the_boot_log_is_read_if_it_is_there_and_not_too_large() {
    const LOG: &str = "sys/kernel/security/tpm0/binary_bios_measurements";
    assert_eq!(boot_log(computer(&[]).path()), None);
    assert_eq!(boot_log(computer(&[(LOG, b"log")]).path()).as_deref(), Some(&b"log"[..]));
    assert_eq!(boot_log(computer(&[(LOG, &vec![0; evidence::LOG_LIMIT + 1])]).path()), None);
}

#[test]
fn a_guest_makes_reports_and_others_do_not() {
    let elsewhere = tempdir().unwrap();
    assert!(matches!(report(elsewhere.path(), "chrysalis", &[7; 64]), Err(ReportError::NotAGuest)));
    // The kernel puts the files into a new folder; a disk does not.
    fs::create_dir_all(elsewhere.path().join(REPORTS)).unwrap();
    assert!(matches!(report(elsewhere.path(), "chrysalis", &[7; 64]), Err(ReportError::System(_))));

    let (folder, asked) = guest(&[("provider", b"tdx_guest\n"), ("auxblob", b"")], b"quote", 0);
    let made = report_in(folder.path(), &[7; 64]).unwrap();
    assert_eq!(asked.join().unwrap(), [7; 64]);
    assert_eq!((made.provider, made.report.as_slice(), made.beside), (Provider::Tdx, &b"quote"[..], None));
    let (folder, asked) = guest(&[("provider", b"sev_guest\n"), ("auxblob", b"certificates")], b"report", 0);
    let made = report_in(folder.path(), &[8; 64]).unwrap();
    assert_eq!(asked.join().unwrap(), [8; 64]);
    assert_eq!((made.provider, made.beside.as_deref()), (Provider::Snp, Some(&b"certificates"[..])));
    let (folder, _) = guest(&[("provider", b"arm_cca_guest\n")], b"report", 0);
    assert!(matches!(report_in(folder.path(), &[7; 64]), Err(ReportError::Unknown(name)) if name == "arm_cca_guest"));
    let (folder, _) = guest(&[("provider", b"tdx_guest\n")], &vec![0; 64 * 1024 + 1], 0);
    assert!(matches!(report_in(folder.path(), &[7; 64]), Err(ReportError::TooLarge)));
}

#[test]
fn what_is_no_guest_or_lacks_its_makers_statements_shows_nothing_and_says_why() {
    let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
    let elsewhere = tempdir().unwrap();
    assert!(!guest::is_one(elsewhere.path()));
    let made = guest::evidence(elsewhere.path(), &binding, || Ok(Vec::new()));
    assert!(matches!(made, Err(NoEvidence::Report(ReportError::NotAGuest))));
    fs::create_dir_all(elsewhere.path().join(REPORTS)).unwrap();
    assert!(guest::is_one(elsewhere.path()));
    // Statements are not looked for before there is a report.
    let made = guest::evidence(elsewhere.path(), &binding, || panic!("there is no report yet"));
    assert!(matches!(made, Err(NoEvidence::Report(ReportError::System(_)))));
    let (folder, _) = guest(&[("provider", b"tdx_guest\n")], b"quote", 0);
    let made = guest::evidence_in(folder.path(), &binding, || Err("the file is gone".to_owned()));
    assert_eq!(made.unwrap_err().to_string(), "the file is gone");
    let (folder, _) = guest(&[("provider", b"sev_guest\n"), ("auxblob", b"")], b"report", 0);
    let made = guest::evidence_in(folder.path(), &binding, || panic!("AMD's reports go without"));
    assert!(matches!(made, Err(NoEvidence::Incomplete(Incomplete::Certificates))));
}

#[test]
fn a_guest_shows_a_report_over_the_question_and_the_key_of_the_connection() {
    let binding = Binding { nonce: [1; 32], tls_key: [2; 32] };
    let (folder, asked) = guest(&[("provider", b"tdx_guest\n")], b"quote", 0);
    let made = guest::evidence_in(folder.path(), &binding, || Ok(b"statements".to_vec())).unwrap();
    let Evidence::Tdx(tdx) = made else { panic!("another kind of evidence") };
    assert_eq!((tdx.quote.as_slice(), tdx.collateral.as_slice(), tdx.gpu), (&b"quote"[..], &b"statements"[..], None));
    assert_eq!(asked.join().unwrap(), binding.report_data());
}

#[test]
fn a_report_becomes_evidence_with_what_its_verifier_needs() {
    let made = |provider, beside: Option<Vec<u8>>| Report { provider, report: b"report".to_vec(), beside };
    let collateral = Some(b"statements".to_vec());
    let Ok(Evidence::Tdx(shown)) = made(Provider::Tdx, None).into_evidence(collateral.clone()) else { panic!() };
    assert_eq!((shown.quote, shown.collateral), (b"report".to_vec(), b"statements".to_vec()));
    assert_eq!(made(Provider::Tdx, None).into_evidence(None), Err(Incomplete::Collateral));
    // Lines of a GUID, an offset and a length, an empty one, and what they point to.
    let (vcek, ask) = ("63da758de6644564adc5f4b93be8accd", "4ab7b379bbac4fe4a02f05aef327c782");
    let table = |lines: &[(&str, u32, u32)]| {
        let mut table = Vec::new();
        for (guid, offset, length) in lines {
            table.extend(hex::decode(guid).unwrap());
            table.extend(offset.to_le_bytes());
            table.extend(length.to_le_bytes());
        }
        table.extend([0; 24]);
        table.extend(b"VCEK-ASK");
        table
    };
    // As written, and with its first fields turned around.
    for ask in [ask, "79b3b74aacbbe44fa02f05aef327c782"] {
        let beside = table(&[(ask, 77, 3), (vcek, 72, 4)]);
        let Ok(Evidence::Snp(shown)) = made(Provider::Snp, Some(beside)).into_evidence(None) else { panic!() };
        assert_eq!((shown.vcek, shown.ask), (b"VCEK".to_vec(), b"ASK".to_vec()));
    }
    for wrong in [
        None,
        Some(Vec::new()),
        Some(table(&[(vcek, 72, 4)])),
        Some(table(&[(vcek, 72, 4), (ask, 77, 4)])),
        Some(table(&[(vcek, u32::MAX, u32::MAX), (ask, 77, 3)])),
        Some(b"certificates".to_vec()),
    ] {
        assert_eq!(made(Provider::Snp, wrong).into_evidence(collateral.clone()), Err(Incomplete::Certificates));
    }
}

#[test]
fn a_report_that_somebody_else_asked_for_meanwhile_is_not_taken() {
    let (folder, _) = guest(&[("provider", b"tdx_guest")], b"quote over something else", 1);
    assert!(matches!(report_in(folder.path(), &[7; 64]), Err(ReportError::Disturbed)));
    for wrong in [&b""[..], b"-1", b"many", b"99999999999999999999"] {
        let folder = computer(&[("generation", wrong)]);
        let made = report_in(folder.path(), &[7; 64]);
        assert!(
            matches!(&made, Err(ReportError::System(error)) if error.kind() == std::io::ErrorKind::InvalidData),
            "{made:?}"
        );
    }
}

#[test]
fn a_device_is_written_to_and_read_from() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("tpmrm0");
    // What is written into a pipe is read from it: the "answer" is the command.
    mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let mut device = Device::open(&path, std::time::Duration::from_secs(10)).unwrap();
    let command = [0x80, 1, 0, 0, 0, 12, 0, 0, 1, 0x7b, 0, 4];
    assert_eq!(device.exchange(&command).unwrap(), command);
    // A length that lies.
    assert_eq!(device.exchange(&command[..11]).unwrap_err().kind(), std::io::ErrorKind::InvalidData);
}
