use proptest::prelude::*;
use ton::{Address, AddressText, Cell, CellBuilder, MAX_BITS, Nanoton, boc};

fn cells() -> impl Strategy<Value = Cell> {
    let leaf = (any::<[u8; 128]>(), 0..=MAX_BITS).prop_map(|(bytes, bits)| cell(&bytes, bits, &[]));
    leaf.prop_recursive(6, 60, 4, |inner| {
        (any::<[u8; 128]>(), 0..=MAX_BITS, prop::collection::vec(inner, 0..=4))
            .prop_map(|(bytes, bits, refs)| cell(&bytes, bits, &refs))
    })
}

fn cell(bytes: &[u8], bits: usize, refs: &[Cell]) -> Cell {
    let whole = CellBuilder::new().bytes(&bytes[..bits / 8]);
    let rest = whole.uint(u64::from(bytes[bits / 8] >> (8 - bits % 8).min(7)), bits % 8);
    refs.iter().fold(rest, |builder, to| builder.reference(to.clone())).build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_of_cells_survives_its_bag(tree in cells()) {
        let bytes = boc::encode(&tree).unwrap();
        let read = boc::decode(&bytes).unwrap();
        prop_assert_eq!(read.hash(), tree.hash());
        prop_assert_eq!(read.depth(), tree.depth());
        prop_assert_eq!(boc::encode(&read).unwrap(), bytes);
    }

    #[test]
    fn a_bag_with_changed_bytes_is_refused_or_read_as_some_other_cell(
        tree in cells(), changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut bytes = boc::encode(&tree).unwrap();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        // Whatever is read can be written and read again.
        if let Ok(read) = boc::decode(&bytes) {
            prop_assert_eq!(boc::decode(&boc::encode(&read).unwrap()).unwrap(), read);
        }
    }

    #[test]
    fn random_bytes_behind_a_bags_head_do_no_harm(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = boc::decode(&[&[0xb5, 0xee, 0x9c, 0x72][..], &tail].concat());
        let _ = boc::decode(&tail);
    }

    #[test]
    fn any_address_survives_every_spelling(
        workchain: i8, hash: [u8; 32], bounceable: bool, testnet: bool
    ) {
        let text = AddressText { address: Address { workchain, hash }, bounceable, testnet };
        prop_assert_eq!(AddressText::parse(&text.to_text()).unwrap(), text);
        let standard = text.to_text().replace('-', "+").replace('_', "/");
        prop_assert_eq!(AddressText::parse(&standard).unwrap(), text);
        prop_assert_eq!(AddressText::parse(&text.address.to_string()).unwrap().address, text.address);
    }

    #[test]
    fn any_text_is_read_or_refused(text in ".{0,90}") {
        let _ = AddressText::parse(&text);
        let _ = ton::Code::parse(&text);
        let _ = ton::RootConfig::from_json(&text);
    }

    #[test]
    fn any_amount_survives_its_cell(amount: u64) {
        let cell = CellBuilder::new().amount(Nanoton(amount)).build().unwrap();
        prop_assert_eq!(cell.slice().unwrap().amount().unwrap(), Nanoton(amount));
    }
}

#[test]
fn a_bag_that_claims_more_than_it_holds_costs_nothing() {
    // 2^32 - 1 cells and bytes in a few bytes of bag; then as many cells as are read, none of them there.
    let many = [&[0xb5, 0xee, 0x9c, 0x72, 4, 8][..], &[0xff; 4], &[0, 0, 0, 1], &[0; 4], &[0xff; 8], &[0; 4]].concat();
    assert_eq!(boc::decode(&many), Err(boc::BocError::Cells { cells: 0xffff_ffff }));
    let most = (boc::MAX_CELLS as u32).to_be_bytes();
    let empty = [&[0xb5, 0xee, 0x9c, 0x72, 4, 8][..], &most, &[0, 0, 0, 1], &[0; 4], &[0xff; 8], &[0; 4]].concat();
    assert!(matches!(boc::decode(&empty), Err(boc::BocError::CutShort { .. })));
    let long = vec![0; boc::MAX_BYTES + 1];
    assert_eq!(boc::decode(&long), Err(boc::BocError::TooLong { length: boc::MAX_BYTES + 1 }));
}

#[test]
fn a_chain_of_cells_deeper_than_the_limit_is_refused_without_recursion() {
    let cells = boc::MAX_CELLS as u16;
    let mut body = Vec::new();
    for cell in 1..cells {
        body.extend([1, 0]);
        body.extend(cell.to_be_bytes());
    }
    body.extend([0, 0]);
    let mut bytes = vec![0xb5, 0xee, 0x9c, 0x72, 2, 4];
    bytes.extend(cells.to_be_bytes());
    bytes.extend([0, 1, 0, 0]);
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(body);
    assert_eq!(boc::decode(&bytes), Err(boc::BocError::Cell(ton::CellError::TooDeep)));
}
