use super::*;
use Outcome::{Reached, Refused, Unknown};

#[expect(clippy::unnecessary_wraps, reason = "what is decided about is a trial, which may fail")]
fn look(outcomes: [Outcome; 6], apis: &[&str]) -> Trial {
    let card = |api: &&str| Card { api: (*api).to_owned(), name: "GeForce RTX 3060".to_owned() };
    Ok(Look { outcomes, cards: apis.iter().map(card).collect() })
}

/// Everything is stopped.
fn tight(apis: &[&str]) -> Trial {
    look([Refused; 6], apis)
}

/// What a token of low integrity lets through, is let through.
fn token(apis: &[&str]) -> Trial {
    look([Reached, Refused, Reached, Reached, Refused, Refused], apis)
}

fn none(why: &str) -> Trial {
    Err(why.to_owned())
}

fn taken(verdict: Verdict) -> (Kind, usize) {
    match verdict {
        Verdict::Take { kind, passed_over } => (kind, passed_over.len()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_best_walls_that_work_are_taken_in_their_order() {
    let container = Kind::AppContainer;
    let cases = [
        (tight(&["Vulkan"]), None, container(Graphics::Vulkan), 0),
        (tight(&["DX12", "Vulkan"]), None, container(Graphics::Vulkan), 0),
        (tight(&["DX12"]), None, container(Graphics::Dx12), 1),
        // CUDA alone inside is no card that was ever seen there.
        (tight(&[]), Some(token(&["Vulkan"])), Kind::Restricted, 2),
        (tight(&["CUDA"]), Some(token(&["Vulkan"])), Kind::Restricted, 2),
        (none("it is off"), Some(token(&["Vulkan"])), Kind::Restricted, 1),
        // A PC without a card needs no weaker walls.
        (tight(&[]), Some(token(&[])), container(Graphics::Processor), 3),
        (tight(&[]), Some(none("it is off")), container(Graphics::Processor), 3),
        (none("it is off"), Some(token(&[])), Kind::Restricted, 1),
        // Without a network it can't be tried, and the rest is.
        (
            look([Refused, Refused, Refused, Unknown, Refused, Refused], &["Vulkan"]),
            None,
            container(Graphics::Vulkan),
            0,
        ),
    ];
    for (inside, restricted, kind, passed_over) in cases {
        assert_eq!(taken(decide(&inside, restricted.as_ref())), (kind, passed_over), "{inside:?} {restricted:?}");
    }
}

#[test]
fn the_restricted_token_is_tried_only_where_the_container_does_not_do() {
    assert_eq!(decide(&tight(&[]), None), Verdict::TryRestricted);
    assert_eq!(decide(&none("it is off"), None), Verdict::TryRestricted);
    for one in 0..Attempt::ALL.len() {
        let mut outcomes = [Refused; 6];
        outcomes[one] = Reached;
        assert_eq!(decide(&look(outcomes, &["Vulkan"]), None), Verdict::TryRestricted, "{one} came through");
        outcomes[one] = Unknown;
        let expected = Attempt::ALL[one] == Attempt::Network;
        assert_eq!(matches!(decide(&look(outcomes, &["Vulkan"]), None), Verdict::Take { .. }), expected, "{one}");
    }
}

#[test]
fn walls_that_stop_nothing_are_none_and_the_refusal_says_why() {
    for one in [Attempt::NewFile, Attempt::AppMemory, Attempt::Program] {
        let mut through = token(&["Vulkan"]);
        let place = Attempt::ALL.iter().position(|attempt| *attempt == one).unwrap();
        through.as_mut().unwrap().outcomes[place] = Reached;
        let Verdict::Refuse(why) = decide(&none("it is off"), Some(&through)) else { panic!("{one:?} is let pass") };
        assert_eq!(why, format!("no AppContainer: it is off; the restricted token does not stop {}", one.words()));
    }
    let Verdict::Refuse(why) = decide(&none("it is off"), Some(&none("access denied"))) else { panic!("started") };
    assert_eq!(why, "no AppContainer: it is off; no restricted token: access denied");
}

#[test]
fn without_its_firewall_rule_the_restricted_token_says_so_in_red() {
    let open = Kind::Restricted.with(false);
    assert_eq!(open.words(), "Windows doesn't block its network or its reading of your files");
    assert_eq!((open.tone(), open.rule_would_help()), (Tone::Red, true));
    let ruled = Kind::Restricted.with(true);
    assert_eq!((ruled.tone(), ruled.rule_would_help()), (Tone::Caution, false));
    assert!(ruled.words().contains("doesn't block its reading of your files"));
    assert_eq!(Mode::Wine.tone(), Tone::Red);
    for graphics in [Graphics::Vulkan, Graphics::Dx12, Graphics::Processor] {
        for firewall in [true, false] {
            let mode = Kind::AppContainer(graphics).with(firewall);
            assert_eq!((mode, mode.tone()), (Mode::AppContainer { graphics }, Tone::Good));
            assert!(mode.words().contains("no network, none of your files"));
        }
    }
}

fn basis() -> Basis {
    Basis {
        build: "10.0.22631.4602".to_owned(),
        drivers: vec![
            "NVIDIA GeForce RTX 3060 32.0.15.6094".to_owned(),
            "Intel(R) UHD Graphics 31.0.101.2125".to_owned(),
        ],
        program: [7; 32],
    }
}

#[test]
fn a_choice_is_remembered_until_windows_a_driver_or_the_program_changes() {
    for kind in [Graphics::Vulkan, Graphics::Dx12, Graphics::Processor]
        .map(Kind::AppContainer)
        .into_iter()
        .chain([Kind::Restricted])
    {
        let text = write(&basis(), kind);
        assert_eq!(read(&text, &basis()), Some(kind));
        let others = [
            Basis { build: "10.0.22631.4603".to_owned(), ..basis() },
            Basis { drivers: basis().drivers[..1].to_vec(), ..basis() },
            Basis { drivers: Vec::new(), ..basis() },
            Basis { program: [8; 32], ..basis() },
        ];
        for other in others {
            assert_eq!(read(&text, &other), None, "{other:?}");
        }
    }
}

#[test]
fn a_choice_that_was_damaged_is_none() {
    let text = write(&basis(), Kind::Restricted);
    for cut in 0..text.len() {
        assert_eq!(read(&text[..cut], &basis()), None, "cut at {cut}");
    }
    assert_eq!(read(&format!("{text}mode restricted\n"), &basis()), None);
    assert_eq!(read(&text.replace("restricted", "nothing at all"), &basis()), None);
    assert_eq!(read(&"x".repeat(1 << 20), &basis()), None);
    // A name of a driver can't say which walls to take.
    let sly = Basis { drivers: vec!["x\nmode restricted".to_owned()], ..basis() };
    assert_eq!(
        read(&write(&sly, Kind::AppContainer(Graphics::Vulkan)), &sly),
        Some(Kind::AppContainer(Graphics::Vulkan))
    );
}

#[test]
fn what_was_found_inside_is_read_as_it_was_written() {
    for trial in [tight(&["Vulkan", "DX12"]), token(&[]), look([Unknown; 6], &["CUDA"])] {
        let look = trial.unwrap();
        assert_eq!(Look::read(look.write().as_bytes()).unwrap(), look);
    }
    let sly = Look {
        outcomes: [Refused; 6],
        cards: vec![Card { api: "Vul kan\n".to_owned(), name: "a\nend\ncard Vulkan b".to_owned() }],
    };
    assert_eq!(
        Look::read(sly.write().as_bytes()).unwrap().cards,
        [Card { api: "Vulkan".to_owned(), name: "aendcard Vulkan b".to_owned() }]
    );
}

#[test]
fn a_report_that_was_cut_or_is_no_report_is_refused() {
    let text = tight(&["Vulkan"]).unwrap().write();
    for cut in 0..text.len() - 1 {
        assert!(Look::read(&text.as_bytes()[..cut]).is_err(), "cut at {cut}");
    }
    for wrong in [&b""[..], b"\xff", b"end\n", "x".repeat(1 << 16).as_bytes()] {
        assert!(Look::read(wrong).is_err());
    }
    assert!(Look::read(format!("{text}end\n").as_bytes()).is_err());
    assert!(Look::read(text.replace("owners-file refused", "owners-file yes").as_bytes()).is_err());
    let many = text.replace("end", &format!("{}end", "card Vulkan x\n".repeat(40)));
    assert!(Look::read(many.as_bytes()).is_err());
}

/// All that the system can confirm.
fn confirmed() -> Seen {
    Seen {
        app_container: Some(true),
        capabilities: Some(0),
        integrity: Some(0x1000),
        restricting: Some(4),
        privileges: Some(1),
        in_job: Some(true),
        job: Some(Job { kill_on_close: true, memory: Some(1 << 30), processes: Some(1), closed_desktop: true }),
        mitigations: Mitigation::ALL.to_vec(),
    }
}

#[test]
fn whatever_the_system_does_not_confirm_is_missing() {
    let container = Mode::AppContainer { graphics: Graphics::Vulkan };
    let restricted = Mode::Restricted { firewall: true };
    assert_eq!(confirmed().lacks(container), []);
    assert_eq!(confirmed().lacks(restricted), []);
    let nothing = Seen::default();
    for mode in [container, restricted] {
        assert_eq!(nothing.lacks(mode).len(), 5 + Mitigation::ALL.len(), "{mode:?}");
    }
    let cases: [(Seen, Mode, Lack); 9] = [
        (Seen { app_container: Some(false), ..confirmed() }, container, Lack::AppContainer),
        (Seen { capabilities: Some(1), ..confirmed() }, container, Lack::NoCapabilities),
        (Seen { integrity: Some(0x2000), ..confirmed() }, container, Lack::LowIntegrity),
        (Seen { integrity: Some(0x2000), ..confirmed() }, restricted, Lack::LowIntegrity),
        (Seen { restricting: Some(0), ..confirmed() }, restricted, Lack::RestrictedToken),
        (Seen { privileges: Some(2), ..confirmed() }, restricted, Lack::NoPrivileges),
        (Seen { in_job: Some(false), ..confirmed() }, restricted, Lack::Job),
        (
            Seen { job: Some(Job { memory: None, ..confirmed().job.unwrap() }), ..confirmed() },
            container,
            Lack::JobLimits,
        ),
        (
            Seen { mitigations: Mitigation::ALL[1..].to_vec(), ..confirmed() },
            container,
            Lack::Mitigation(Mitigation::StrictHandles),
        ),
    ];
    for (seen, mode, lack) in cases {
        assert_eq!(seen.lacks(mode), [lack]);
    }
    // Wine is told from Windows, and has nothing but the job.
    assert_eq!(Seen { in_job: Some(true), ..Seen::default() }.lacks(Mode::Wine), []);
    assert_eq!(Seen::default().lacks(Mode::Wine), [Lack::Job]);
}

#[test]
fn a_wall_stands_only_where_the_system_says_so() {
    let closed = |seen: &Seen| Wall::ALL.map(|wall| seen.closed(wall));
    assert_eq!(closed(&confirmed()), [Some(true); 6]);
    assert_eq!(closed(&Seen::default()), [None; 6]);
    // A restricted token leaves network and files open, with the firewall's rule too.
    let restricted = Seen { app_container: Some(false), ..confirmed() };
    assert_eq!(closed(&restricted), [Some(false), Some(false), Some(true), Some(true), Some(true), Some(true)]);
    let capable = Seen { capabilities: Some(1), ..confirmed() };
    assert_eq!((capable.closed(Wall::Network), capable.closed(Wall::Files)), (Some(false), Some(false)));
    let untold = Seen { capabilities: None, ..confirmed() };
    assert_eq!(untold.closed(Wall::Network), None);
    let high = Seen { integrity: Some(0x3000), ..confirmed() };
    assert_eq!((high.closed(Wall::Others), high.closed(Wall::Rights)), (Some(false), Some(false)));
    let open = Seen { job: Some(Job::default()), mitigations: Vec::new(), ..confirmed() };
    assert_eq!((open.closed(Wall::Programs), open.closed(Wall::Memory)), (Some(false), Some(false)));
}
