//! No grade passes for a higher one: every kind of evidence against every policy, and every part of it in another's place.

use crate::processors::{Maker, listing};
use crate::software::{BINDING, NOW, Software, anchors};
use evidence::{Evidence, Grade, Policy, Refusal, SnpEvidence, TdxEvidence, appraise, judge, snp};

/// What each kind of attester shows at its best, with the grade it proves. The processor's is judged under a maker of the test's own.
fn proofs() -> Vec<(Grade, Result<evidence::Appraisal, Refusal>)> {
    let tpm = |certified| {
        let evidence = Evidence::Tpm(Software::new().evidence([[0; 32]; 8], None, certified));
        appraise(&evidence, &BINDING, NOW, &anchors(), &Policy::default())
    };
    let maker = Maker::new();
    let data = BINDING.report_data();
    let mut report = maker.evidence(&data, |_| ());
    report.gpu = Some(b"a graphics card's own report".to_vec());
    vec![
        (Grade::SelfClaim, appraise(&Evidence::SelfClaim, &BINDING, NOW, &anchors(), &Policy::default())),
        (Grade::KnownMachineUncertified, tpm(false)),
        (Grade::KnownMachine, tpm(true)),
        (Grade::ProcessorIsolated, maker.judge(&report, &data, &listing(snp::image_of(&report.report)))),
    ]
}

#[test]
fn no_grade_passes_for_another() {
    for (grade, proof) in proofs() {
        let appraisal = proof.unwrap();
        assert_eq!(appraisal.grade, grade);
        for accepted in Grade::ALL {
            let judged = judge(appraisal.clone(), &Policy::accepting([accepted])).map(|appraisal| appraisal.grade);
            let expected = if accepted == grade { Ok(grade) } else { Err(Refusal::GradeNotAccepted(grade)) };
            assert_eq!(judged, expected, "{grade} where {accepted} is accepted");
        }
        let all_above = Grade::ALL.into_iter().filter(|above| *above > grade);
        assert!(judge(appraisal, &Policy::accepting(all_above)).is_err());
    }
}

#[test]
fn nothing_here_proves_the_highest_grade() {
    assert!(proofs().into_iter().all(|(grade, _)| grade < Grade::HardwareIsolated));
    for (_, proof) in proofs() {
        assert!(judge(proof.unwrap(), &Policy::accepting([Grade::HardwareIsolated])).is_err());
    }
}

#[test]
fn one_kind_of_evidence_in_the_place_of_another_is_refused() {
    let tpm = Software::new().evidence([[0; 32]; 8], None, true);
    let report = Maker::new().evidence(&BINDING.report_data(), |_| ());
    let parts = [&tpm.attest, &tpm.ak_public, &tpm.signature, &tpm.statement, &report.report, &report.vcek];
    let policy = listing(snp::image_of(&report.report));
    let refused = |evidence: Evidence| {
        assert!(appraise(&evidence, &BINDING, NOW, &anchors(), &policy).is_err());
        // And whatever its bytes are called.
        for kind in 0..8 {
            let mut bytes = evidence.encode();
            bytes[5] = kind;
            if let Ok(other) = Evidence::decode(&bytes) {
                assert!(appraise(&other, &BINDING, NOW, &anchors(), &policy).is_err());
            }
        }
    };
    for part in parts {
        let part = || part.clone();
        refused(Evidence::Tdx(TdxEvidence { quote: part(), collateral: b"{}".to_vec(), gpu: None }));
        refused(Evidence::Snp(SnpEvidence {
            report: part(),
            vcek: report.vcek.clone(),
            ask: report.ask.clone(),
            gpu: None,
        }));
        refused(Evidence::Snp(SnpEvidence { report: report.report.clone(), vcek: part(), ask: part(), gpu: None }));
        for at in 0..4 {
            let mut changed = tpm.clone();
            let place = match at {
                0 => &mut changed.ak_public,
                1 => &mut changed.attest,
                2 => &mut changed.signature,
                _ => &mut changed.statement,
            };
            if *place != part() {
                *place = part();
                refused(Evidence::Tpm(changed));
            }
        }
    }
}
