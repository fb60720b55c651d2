use accounting::signed_payment::{PaymentKind, SignedPayment, UnsignedPayment};
use accounting::{ModelName, Prices, TokenUsage, adjusted};
use ed25519_dalek::SigningKey;
use proptest::prelude::*;
use ton::{Address, Nanoton};

fn payments() -> impl Strategy<Value = UnsignedPayment> {
    (any::<bool>(), any::<u64>(), any::<u64>(), any::<(i8, [u8; 32])>(), any::<(i8, [u8; 32])>()).prop_map(
        |(worker, query_id, tokens, target, excess)| UnsignedPayment {
            kind: if worker { PaymentKind::Worker } else { PaymentKind::Client },
            query_id,
            tokens,
            target: Address { workchain: target.0, hash: target.1 },
            excess: Address { workchain: excess.0, hash: excess.1 },
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_payment_survives_its_bag_and_its_check(unsigned in payments(), seed: [u8; 32]) {
        let key = SigningKey::from_bytes(&seed);
        let signed = unsigned.sign(&key);
        let read = SignedPayment::from_boc(&signed.to_boc()).unwrap();
        prop_assert_eq!(read, signed);
        prop_assert_eq!(read.verify(&key.verifying_key().to_bytes(), &unsigned.target), Ok(unsigned.tokens));
    }

    #[test]
    fn a_payment_with_a_changed_byte_never_pays_more(
        unsigned in payments(), seed: [u8; 32], at: prop::sample::Index, change in 1_u8..
    ) {
        let key = SigningKey::from_bytes(&seed);
        let mut bytes = unsigned.sign(&key).to_boc();
        let at = at.index(bytes.len());
        bytes[at] ^= change;
        if let Ok(read) = SignedPayment::from_boc(&bytes)
            && let Ok(tokens) = read.verify(&key.verifying_key().to_bytes(), &unsigned.target)
        {
            prop_assert_eq!(tokens, unsigned.tokens);
        }
    }

    #[test]
    fn adjusting_stays_within_one_token_of_the_exact_quotient(
        tokens in 0_i64..1_000_000, coefficient in 0_i32..100_000, multiplier in 0_u32..1_000_000
    ) {
        let exact = i128::from(tokens) * i128::from(coefficient) * i128::from(multiplier) / 10_000_000;
        let difference = i128::from(adjusted(tokens, coefficient, multiplier)) - exact;
        prop_assert!((-1..=1).contains(&difference), "{difference}");
    }

    #[test]
    fn below_zero_is_the_mirror_of_above(tokens in 0_i64..i64::MAX, coefficient: i32, multiplier: u32) {
        let above = adjusted(tokens, coefficient, multiplier);
        // Only at the very end of the range the mirror is one short.
        prop_assert!(above.checked_neg().is_none_or(|mirror| mirror.abs_diff(adjusted(-tokens, coefficient, multiplier)) <= 1));
    }

    #[test]
    fn any_usage_is_adjusted_without_wrapping(
        prompt: u64, cached: u64, completion: u64, reasoning: u64, coefficient: i32, multipliers: [u32; 4]
    ) {
        let prices = Prices {
            fee_per_token: Nanoton(1),
            price_per_token: Nanoton(2),
            prompt_multiplier: multipliers[0],
            cached_multiplier: multipliers[1],
            completion_multiplier: multipliers[2],
            reasoning_multiplier: multipliers[3],
        };
        let it = TokenUsage { prompt, cached, completion, reasoning }.adjusted(coefficient, &prices);
        let exact = [it.prompt, it.cached, it.completion, it.reasoning].map(i128::from).iter().sum::<i128>();
        let bounded = exact.clamp(i128::from(i64::MIN), i128::from(i64::MAX));
        prop_assert_eq!(i128::from(it.total), bounded);
    }

    #[test]
    fn any_name_that_is_read_is_written_as_it_was(text in "[a-zA-Z/@:.-]{0,40}") {
        if let Ok(name) = text.parse::<ModelName>() {
            prop_assert_eq!(name.to_string(), text);
        }
    }
}
