//! What a proxy must show before anything is done for it, where the owner asks for it.
//!
//! May not: believe anybody about machines; a worker knows no registrar, so a proxy is believed for its processor's report or for nothing.

use std::collections::BTreeSet;

use evidence::{Anchors, Binding, Grade, ImageHash, NotShown, Policy, Refusal, appraise_shown};
use link::proof::AskedDemand;

/// Whether what a proxy showed is enough; `Ok`: the image that runs there, if that is proved. `images`: what the network lists.
pub(crate) fn judge(
    shown: Option<&[u8]>,
    binding: &Binding,
    now: u64,
    demand: &AskedDemand,
    images: &[[u8; 32]],
) -> Result<Option<[u8; 32]>, String> {
    let accepted: BTreeSet<Grade> = demand.grades.iter().filter_map(|number| Grade::from_number(*number)).collect();
    let policy = Policy { accepted, images: images.iter().copied().map(ImageHash).collect(), ..Policy::accepting([]) };
    match appraise_shown(shown, binding, now, &Anchors::default(), &policy) {
        Ok(found) => Ok(found.facts.image.map(|image| image.0)),
        // The verifier's words are for whoever was asked.
        Err(NotShown::Refused(Refusal::GradeNotAccepted(grade))) => {
            Err(format!("it proves the grade {grade}, which is not accepted here"))
        }
        Err(why) => Err(why.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: Binding = Binding { nonce: [1; 32], tls_key: [2; 32] };

    fn check(shown: Option<&[u8]>, grades: &[Grade], expected: Result<Option<[u8; 32]>, &str>) {
        let demand = AskedDemand { grades: grades.iter().map(|grade| grade.number()).collect() };
        let found = judge(shown, &BINDING, 1_795_780_800, &demand, &[[7; 32]]);
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_proxy_that_shows_less_than_is_asked_for_is_named_with_what_it_shows() {
        let not_enough = Err("it proves the grade self-claim, which is not accepted here");
        let self_claim = evidence::Evidence::SelfClaim.encode();
        check(None, &[Grade::ProcessorIsolated], not_enough);
        check(Some(&self_claim), &[Grade::ProcessorIsolated], not_enough);
        check(None, &[], not_enough);
        check(None, &[Grade::SelfClaim], Ok(None));
        check(Some(&self_claim), &[Grade::SelfClaim], Ok(None));
        let garbage = judge(Some(b"trust me"), &BINDING, 0, &AskedDemand { grades: vec![0, 1, 2, 3, 4, 9] }, &[]);
        assert!(garbage.is_err(), "garbage is not nothing: {garbage:?}");
    }
}
