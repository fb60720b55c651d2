//! Quotes and logs that are not what they should be.

use crate::log::{Line, boot, line, registers, separator, variable, written};
use crate::software::{ATTESTATION, BINDING, NOW, SELECTED, Software, anchors, registrar, statement};
use evidence::{Appraisal, Evidence, Grade, LOG_LIMIT, NotShown, Policy, Refusal, TpmEvidence, appraise};
use sha2::{Digest as _, Sha256};

fn judge(evidence: TpmEvidence) -> Result<Appraisal, Refusal> {
    appraise(&Evidence::Tpm(evidence), &BINDING, NOW, &anchors(), &Policy::default())
}

fn started(lines: &[Line]) -> Result<Option<bool>, Refusal> {
    let evidence = Software::new().evidence(registers(lines), Some(written(lines)), true);
    judge(evidence).map(|appraisal| appraisal.facts.secure_boot)
}

#[test]
fn secure_boot_is_what_the_firmware_measured_before_it_handed_over() {
    assert_eq!(started(&boot(true)), Ok(Some(true)));
    assert_eq!(started(&boot(false)), Ok(Some(false)));
    // Nothing measured, and a variable without a value.
    assert_eq!(started(&[separator(7)]), Ok(None));
    assert_eq!(started(&[variable("SecureBoot", &[]), separator(7)]), Ok(Some(false)));
    // The firmware never handed over.
    assert_eq!(started(&[variable("SecureBoot", &[1])]), Ok(None));
    // Debugging undoes it.
    let debug = line(7, 0x8000_0007, b"UEFI Debug Mode");
    assert_eq!(started(&[debug, variable("SecureBoot", &[1]), separator(7)]), Ok(Some(false)));
    // In another register, or of another owner, it is another thing.
    let mut elsewhere = variable("SecureBoot", &[1]);
    elsewhere.register = 1;
    assert_eq!(started(&[elsewhere, separator(7)]), Ok(None));
}

#[test]
fn what_is_added_after_the_firmware_handed_over_changes_nothing() {
    // Root can extend register 7 at any time, and then replay the log.
    let mut lines = boot(false);
    lines.push(variable("SecureBoot", &[1]));
    assert_eq!(started(&lines), Ok(Some(false)));
    let lines = [separator(7), variable("SecureBoot", &[1]), separator(7)];
    assert_eq!(started(&lines), Ok(None));
}

/// Registers keep hashes and no kinds: a log that calls its lines something else leads to the same registers. Root adds to the end what would
/// have been measured with Secure Boot on, and calls the true lines whatever may hide them.
#[test]
fn a_log_whose_lines_are_called_something_else_says_the_same_or_nothing() {
    let kinds = [4, 5, 8, 13, 0x8000_0001, 0x8000_0002, 0x8000_0007, 0x8000_000c, 0x8000_00e0, 0xdead_beef];
    let before = boot(false);
    let mut forged = before.clone();
    forged.extend(boot(true).into_iter().filter(|line| line.register == 7));
    let own: Vec<usize> = (0..before.len()).filter(|at| before[*at].register == 7).collect();
    assert!(own.len() > 1);
    for chosen in 1..1_u32 << own.len() {
        for kind in kinds {
            let mut lines = forged.clone();
            for (bit, at) in own.iter().enumerate() {
                if chosen >> bit & 1 == 1 {
                    lines[*at].kind = kind;
                }
            }
            assert_eq!(registers(&lines), registers(&forged));
            assert_eq!(started(&lines), Ok(Some(false)), "{chosen:b} {kind:#x}");
        }
    }
    // Something that is called a separator and is none; and one that looks like one and was measured as something else.
    let mut early = boot(false);
    early.insert(0, line(7, 4, b"not a separator"));
    assert_eq!(started(&early), Ok(Some(false)));
    early[0].content = vec![0; 4];
    assert_eq!(started(&early), Ok(None));
}

#[test]
fn what_was_not_measured_is_not_read() {
    let mut lies = boot(false);
    lies[1].content = variable("SecureBoot", &[1]).content;
    assert_eq!(started(&lies), Ok(None));
    let mut hidden = vec![line(7, 0x8000_0007, b"UEFI Debug Mode"), variable("SecureBoot", &[1]), separator(7)];
    hidden[0].content = b"nothing of note".to_vec();
    assert_eq!(started(&hidden), Ok(None));
}

#[test]
fn a_log_that_says_two_things_is_refused() {
    let lines = [variable("SecureBoot", &[1]), variable("SecureBoot", &[0]), separator(7)];
    assert_eq!(started(&lines), Err(Refusal::LogContradictsItself));
}

#[test]
fn a_log_with_a_line_left_out_added_or_moved_leads_elsewhere() {
    let lines = boot(true);
    let show = |shown: &[Line]| judge(Software::new().evidence(registers(&lines), Some(written(shown)), true));
    show(&lines).unwrap();
    for at in 0..lines.len() {
        let mut shown = lines.clone();
        let left_out = shown.remove(at);
        assert_eq!(show(&shown), Err(Refusal::LogDoesNotFit(left_out.register as u8)));
        shown.insert(at, left_out.clone());
        shown.insert(at, left_out.clone());
        assert_eq!(show(&shown), Err(Refusal::LogDoesNotFit(left_out.register as u8)));
    }
    let mut moved = lines.clone();
    moved.swap(1, 2);
    assert_eq!(show(&moved), Err(Refusal::LogDoesNotFit(7)));
}

#[test]
fn the_place_from_which_the_tpm_was_started_counts() {
    let mut lines = boot(true);
    lines.insert(0, line(0, 3, b"StartupLocality\0\x03"));
    assert_eq!(started(&lines), Err(Refusal::LogDoesNotFit(0)));
    let mut replayed = registers(&lines);
    replayed[0] = [0; 32];
    replayed[0][31] = 3;
    for line in lines.iter().filter(|line| line.register == 0 && line.kind != 3) {
        replayed[0] = Sha256::new().chain_update(replayed[0]).chain_update(line.digest).finalize().into();
    }
    let evidence = Software::new().evidence(replayed, Some(written(&lines)), true);
    assert_eq!(judge(evidence).unwrap().facts.secure_boot, Some(true));
}

#[test]
fn a_log_cut_anywhere_but_between_lines_is_malformed_and_a_huge_one_is_refused_unread() {
    let lines = boot(true);
    let whole = written(&lines);
    let software = Software::new();
    for length in 0..whole.len() {
        let evidence = software.evidence(registers(&lines), Some(whole[..length].to_vec()), true);
        let refused = judge(evidence).unwrap_err();
        assert!(matches!(refused, Refusal::Malformed("boot log") | Refusal::LogDoesNotFit(_)), "{length}: {refused:?}");
    }
    let mut huge = software.evidence(registers(&lines), Some(vec![0; LOG_LIMIT + 1]), true);
    assert_eq!(Evidence::decode(&Evidence::Tpm(huge.clone()).encode()), Err(evidence::DecodeError::TooLarge));
    // A line that says it is as large as memory.
    let mut log = whole;
    let end = log.len();
    log.extend([7, 0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 11, 0]);
    log.extend([0; 32]);
    log.extend([0xff; 4]);
    assert!(log.len() > end);
    huge.log = Some(log);
    assert_eq!(judge(huge), Err(Refusal::Malformed("boot log")));
}

#[test]
fn a_quote_of_other_registers_or_of_another_bank_is_refused() {
    let software = Software::new();
    let lines = boot(true);
    let good = software.evidence(registers(&lines), Some(written(&lines)), true);
    judge(good.clone()).unwrap();
    let quote = |selected: &[u8]| {
        let attest = Software::attest(&BINDING.qualifying_data(), &good.registers, selected);
        judge(TpmEvidence { signature: software.sign(&attest), attest, ..good.clone() })
    };
    quote(&SELECTED).unwrap();
    // Zeros behind are the same selection.
    quote(&[0, 0, 0, 1, 0, 0x0b, 4, 0xff, 0, 0, 0]).unwrap();
    for wrong in [
        &[0, 0, 0, 1, 0, 0x0b, 3, 0x7f, 0, 0][..],
        &[0, 0, 0, 1, 0, 0x0b, 3, 0xff, 1, 0],
        &[0, 0, 0, 1, 0, 0x04, 3, 0xff, 0, 0],
        &[0, 0, 0, 0],
        &[0, 0, 0, 2, 0, 0x0b, 3, 0xff, 0, 0, 0, 0x04, 3, 0xff, 0, 0],
        &[0, 0, 0, 1, 0, 0x0b, 1, 0xff],
    ] {
        assert_eq!(quote(wrong), Err(Refusal::RegistersDiffer), "{wrong:?}");
    }
    assert_eq!(quote(&[0xff, 0xff, 0xff, 0xff]), Err(Refusal::Malformed("quote")));
    let mut other = good;
    other.registers[3][0] ^= 1;
    assert_eq!(judge(other), Err(Refusal::RegistersDiffer));
}

#[test]
fn a_key_that_could_sign_what_did_not_happen_is_unfit() {
    // Each of what is needed, taken away; and one that decrypts.
    let needed = [1, 4, 5, 16, 18].map(|bit| ATTESTATION & !(1 << bit));
    for attributes in needed.into_iter().chain([ATTESTATION | 1 << 17]) {
        let mut software = Software::new();
        software.attributes = attributes;
        assert_eq!(judge(software.evidence([[0; 32]; 8], None, true)), Err(Refusal::UnfitKey), "{attributes:#x}");
    }
}

#[test]
fn something_else_that_the_key_signed_is_no_quote() {
    let software = Software::new();
    let good = software.evidence([[0; 32]; 8], None, true);
    let signed = |attest: Vec<u8>| judge(TpmEvidence { signature: software.sign(&attest), attest, ..good.clone() });
    for at in [0, 5] {
        let mut attest = good.attest.clone();
        attest[at] ^= 1;
        assert_eq!(signed(attest), Err(Refusal::Malformed("quote")));
    }
    for length in 0..good.attest.len() {
        assert_eq!(signed(good.attest[..length].to_vec()), Err(Refusal::Malformed("quote")));
    }
    assert_eq!(signed([&good.attest[..], &[0]].concat()), Err(Refusal::Malformed("quote")));
    let other = TpmEvidence { statement: statement(Software::new().name(), true).sign(&registrar()), ..good };
    assert_eq!(judge(other), Err(Refusal::AnotherKey));
}

#[test]
fn secure_boot_is_asked_for_where_the_policy_asks() {
    let policy = Policy { require_secure_boot: true, ..Policy::accepting([Grade::KnownMachine]) };
    let ask = |lines: Option<&[Line]>| {
        let none: &[Line] = &[];
        let at = registers(lines.unwrap_or(none));
        let evidence = Software::new().evidence(at, lines.map(written), true);
        appraise(&Evidence::Tpm(evidence), &BINDING, NOW, &anchors(), &policy).map(|appraisal| appraisal.grade)
    };
    assert_eq!(ask(Some(&boot(true))), Ok(Grade::KnownMachine));
    assert_eq!(ask(Some(&boot(false))), Err(Refusal::SecureBootOff(Grade::KnownMachine)));
    assert_eq!(ask(None), Err(Refusal::SecureBootUnknown(Grade::KnownMachine)));
}

#[test]
fn a_known_machine_that_is_refused_for_secure_boot_is_a_known_machine_all_the_same() {
    for grade in [Grade::KnownMachine, Grade::KnownMachineUncertified] {
        for refusal in
            [Refusal::SecureBootOff(grade), Refusal::SecureBootUnknown(grade), Refusal::GradeNotAccepted(grade)]
        {
            assert_eq!(NotShown::Refused(refusal).proved(), grade);
        }
    }
    assert_eq!(NotShown::Refused(Refusal::UnknownRegistrar).proved(), Grade::SelfClaim);
}
