//! TL objects.

/// The bytes as an object of every type of the schema and of ours. The id they begin with selects the types that can take them; behind it
/// the same bytes are also tried under every other id, so that each type sees every input.
pub fn tl_objects(data: &[u8]) {
    let Some((id, rest)) = data.split_first_chunk::<4>() else {
        for each in every_type() {
            assert!((each.round_trip)(data).is_err(), "{} was read out of {} bytes", each.name, data.len());
        }
        return;
    };
    let id = u32::from_le_bytes(*id);
    for each in every_type() {
        if each.id == id {
            round_trip(&each, data);
        } else {
            let mut other = each.id.to_le_bytes().to_vec();
            other.extend_from_slice(rest);
            round_trip(&each, &other);
        }
    }
}

/// The schema's types and ours.
pub(crate) fn every_type() -> Vec<tl::Combinator> {
    [tl::combinators(), tl::own_combinators()].concat()
}

fn round_trip(each: &tl::Combinator, data: &[u8]) {
    if let Ok(written) = (each.round_trip)(data) {
        let again = (each.round_trip)(&written);
        assert!(again.as_ref() == Ok(&written), "{} is not read as it was written", each.name);
    }
}
