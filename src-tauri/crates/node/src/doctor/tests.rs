use std::collections::BTreeSet;
use std::path::PathBuf;

use evidence::Grade;
use serde_json::Value;

use super::*;

fn described() -> Vec<(String, Value)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/doctor");
    let mut found: Vec<(String, Value)> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap())
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

fn demand(name: &str) -> Demand {
    let open = |grades: &[Grade], secure_boot| Demand::Open {
        accepted: grades.iter().copied().collect(),
        secure_boot,
        registrars: BTreeSet::new(),
    };
    let from = |lowest: Grade| Grade::ALL.into_iter().filter(|grade| *grade >= lowest).collect::<Vec<_>>();
    match name {
        "practice" => Demand::Practice,
        "cocoon_main" => Demand::CocoonMain,
        "open_self_claim" => open(&Grade::ALL, false),
        "open_known" => open(&[Grade::KnownMachineUncertified, Grade::KnownMachine], false),
        "open_known_secure_boot" => open(&[Grade::KnownMachineUncertified, Grade::KnownMachine], true),
        "open_certified_secure_boot" => open(&[Grade::KnownMachine], true),
        "open_sealed" => open(&from(Grade::ProcessorIsolated), false),
        other => panic!("{other}"),
    }
}

#[test]
fn thirty_described_pcs_get_the_verdicts_that_are_written_down_for_them() {
    let all = described();
    assert_eq!(all.len(), 30);
    for (name, described) in &all {
        let facts: Facts =
            serde_json::from_value(described["facts"].clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written: Vec<&str> =
            described["grades"].as_array().unwrap().iter().map(|grade| grade.as_str().unwrap()).collect();
        let found = grades(&facts);
        assert_eq!(found.iter().map(|grade| grade.name()).collect::<Vec<_>>(), written, "{name}");
        let networks = described["networks"].as_object().unwrap();
        assert_eq!(networks.len(), 7, "{name}");
        for (network, verdict) in networks {
            let (answer, missing) = examine(&facts, &demand(network));
            let found = (answer.name(), missing.map(Missing::name));
            assert_eq!(found, (verdict["answer"].as_str().unwrap(), verdict["missing"].as_str()), "{name}, {network}");
        }
    }
}

#[test]
fn every_missing_thing_has_a_pc_that_misses_it_but_those_no_network_asks_for() {
    let named: BTreeSet<String> = described()
        .iter()
        .flat_map(|(_, described)| described["networks"].as_object().unwrap().values().cloned().collect::<Vec<_>>())
        .filter_map(|verdict| verdict["missing"].as_str().map(str::to_owned))
        .collect();
    // Those two are of networks that no described PC is asked about.
    let others = [Missing::Anybody.name(), Missing::CardProof.name()];
    for missing in Missing::ALL.iter().map(|missing| missing.name()).filter(|name| !others.contains(name)) {
        assert!(named.contains(missing), "no described PC misses {missing}");
    }
    let (_, described) = described().remove(0);
    let facts: Facts = serde_json::from_value(described["facts"].clone()).unwrap();
    let open = |grades: &[Grade]| Demand::Open {
        accepted: grades.iter().copied().collect(),
        secure_boot: false,
        registrars: BTreeSet::new(),
    };
    assert_eq!(examine(&facts, &open(&[])), (Answer::No, Some(Missing::Anybody)));
    assert_eq!(examine(&facts, &open(&[Grade::HardwareIsolated])), (Answer::No, Some(Missing::CardProof)));
}

#[test]
fn secure_boot_is_no_proof_where_the_boot_log_is_not_to_be_read() {
    let (_, described) = described().into_iter().find(|(name, _)| name == "windows_11_rtx_4090_registered").unwrap();
    let facts: Facts = serde_json::from_value(described["facts"].clone()).unwrap();
    let asked =
        |boot_log, tpm: Tpm| examine(&Facts { tpm, boot_log, ..facts.clone() }, &demand("open_certified_secure_boot"));
    let certified = |certified| Tpm::Ready { maker: None, certified };
    assert_eq!(asked(Some(true), certified(Some(true))), (Answer::Yes, None));
    assert_eq!(asked(Some(false), certified(Some(true))), (Answer::No, Some(Missing::BootLog)));
    assert_eq!(asked(None, certified(Some(true))), (Answer::Unknown, Some(Missing::BootLogUnknown)));
    // A sure no comes before what is not known.
    assert_eq!(asked(Some(false), certified(None)), (Answer::No, Some(Missing::BootLog)));
    // Who does not ask for Secure Boot needs no log.
    let facts = Facts { boot_log: Some(false), ..facts };
    assert_eq!(examine(&facts, &demand("open_known")), (Answer::Yes, None));
}

#[test]
fn what_is_missing_is_told_in_one_sentence_or_two_that_promise_nothing() {
    for missing in Missing::ALL {
        let words = missing.words();
        assert!(words.ends_with('.') && words.len() < 240, "{words}");
        for promise in ["earn", "income", "guarantee", "private", "secure machine"] {
            assert!(!words.to_lowercase().contains(promise), "{words}");
        }
    }
}

#[test]
fn a_registration_counts_where_that_registrar_is_believed() {
    let (_, described) = described().into_iter().find(|(name, _)| name == "windows_11_rtx_4090_registered").unwrap();
    let facts: Facts = serde_json::from_value(described["facts"].clone()).unwrap();
    let asks = |registrars: &[&str]| Demand::Open {
        accepted: [Grade::KnownMachine].into(),
        secure_boot: true,
        registrars: registrars.iter().map(|key| (*key).to_owned()).collect(),
    };
    assert_eq!(examine(&facts, &asks(&[])), (Answer::Yes, None));
    assert_eq!(examine(&facts, &asks(&[&facts.registered_at[0], "00"])), (Answer::Yes, None));
    assert_eq!(examine(&facts, &asks(&["00"])), (Answer::No, Some(Missing::Registration)));
}

#[test]
fn what_a_network_file_asks_for_is_what_is_examined() {
    let key = "0b".repeat(32);
    let text = format!(
        r#"{{"root_contract_address":"x","evidence":{{"accepted":["known-machine"],"require_secure_boot":true,"registrars":[{{"endpoint":"a:1","key":"{key}"}}]}}}}"#
    );
    let found = stated(&text).unwrap().unwrap();
    assert_eq!(found.registrars, [evidence::Registrar { endpoint: "a:1".to_owned(), key: [11; 32] }]);
    let Demand::Open { accepted, secure_boot, registrars } = super::stated::demand(&found) else { panic!() };
    assert_eq!((accepted, secure_boot, registrars), ([Grade::KnownMachine].into(), true, [key].into()));
    assert_eq!(found.policy.accepted, [Grade::KnownMachine].into());
    // A network that says nothing asks for nothing.
    assert!(stated(r#"{"root_contract_address":"x"}"#).unwrap().is_none());
    let list = format!(
        "{{\"evidence\":{{\"accepted\":[\"self-claim\"],\"registrars\":[{}]}}}}",
        vec![format!("{{\"key\":\"{}\"}}", "0b".repeat(32)); 17].join(",")
    );
    for wrong in [
        "",
        "[]",
        "{\"evidence\":7}",
        r#"{"evidence":{"accepted":["measured-image"]}}"#,
        r#"{"evidence":{"accepted":["self-claim"],"secure_boot":true}}"#,
        r#"{"evidence":{"accepted":["self-claim"],"registrars":[{"key":"0b"}]}}"#,
        r#"{"evidence":{"accepted":[]}}"#,
        r#"{"evidence":null}"#,
        r#"{"root_contract_address":"x","evidense":{"accepted":["known-machine"]}}"#,
        r#"{"root_contract_address":"x","Evidence":{"accepted":["known-machine"]}}"#,
        "{}",
        r#"{"accepted":["known-machine"]}"#,
        &list,
    ] {
        assert!(stated(wrong).is_err(), "{wrong}");
    }
}
