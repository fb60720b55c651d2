//! What a request can cost at most, read from the request itself.
//!
//! A genuine proxy holds back `max_tokens` and a token for every byte of the query, and charges whatever the worker says (document,
//! 4.4). We cut what a worker says, so the limit must be one that no honest worker reaches: a client states `max_tokens` for one
//! answer, but may ask for several; workers go by the number in the body, which they see, not by the one beside it, which they
//! don't (4.3); and a body without one is answered for as long as the model has something to say.

use std::fmt;

use accounting::{Prices, adjusted};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::http::Request;

/// More answers to one request are not reckoned with; workers of ours refuse long before.
const MOST_ANSWERS: u64 = 4096;
/// Tokens that a model's chat template may add of its own, a default system prompt for example.
const TEMPLATE_TOKENS: i64 = 1024;

/// What matters of a request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// Bytes of the whole query: a text has no more tokens than bytes.
    bytes: i64,
    /// Prompts times answers for each.
    answers: i64,
    limit: Limit,
}

/// How long one answer may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limit {
    /// So many tokens, the body says.
    Stated(i64),
    /// The body does not say.
    None,
    /// The body can't be read, and no worker answers that at length.
    Unread,
}

impl Asked {
    /// Reads a boxed `http.request`.
    pub(super) fn read(query: &[u8]) -> Self {
        let bytes = i64::try_from(query.len()).unwrap_or(i64::MAX);
        let body = Request::decode(query).ok().and_then(|request| serde_json::from_slice::<Body>(&request.body).ok());
        match body {
            None => Self { bytes, answers: 1, limit: Limit::Unread },
            Some(body) => Self {
                bytes,
                answers: body.prompts.saturating_mul(body.n).clamp(1, MOST_ANSWERS).cast_signed(),
                limit: body
                    .max_completion_tokens
                    .or(body.max_tokens)
                    .map_or(Limit::None, |tokens| Limit::Stated(i64::from(u32::try_from(tokens).unwrap_or(u32::MAX)))),
            },
        }
    }

    /// Adjusted tokens to hold back for a client who says `max_tokens` an answer and agrees to this coefficient.
    pub(super) fn reserve(&self, max_tokens: i32, max_coefficient: i32, prices: &Prices) -> i64 {
        self.adjusted(self.answer_tokens(max_tokens), max_coefficient, prices)
    }

    /// Adjusted tokens that a worker of this coefficient may be credited for an answer of so many bytes. A body without a limit may
    /// cost more than was held back: a token for every byte.
    pub(super) fn ceiling(&self, max_tokens: i32, answer_bytes: u64, coefficient: i32, prices: &Prices) -> i64 {
        let agreed = self.answer_tokens(max_tokens);
        let tokens = match self.limit {
            Limit::Stated(_) | Limit::Unread => agreed,
            Limit::None => agreed.max(i64::try_from(answer_bytes).unwrap_or(i64::MAX)),
        };
        self.adjusted(tokens.saturating_add(TEMPLATE_TOKENS), coefficient, prices)
    }

    fn answer_tokens(&self, max_tokens: i32) -> i64 {
        let one = match self.limit {
            Limit::Stated(tokens) => tokens.max(i64::from(max_tokens)),
            Limit::None | Limit::Unread => i64::from(max_tokens),
        };
        one.saturating_mul(self.answers)
    }

    /// As dear as the network's dearest kind of token; never cheaper than a genuine proxy reckons.
    fn adjusted(&self, tokens: i64, coefficient: i32, prices: &Prices) -> i64 {
        const ONE: u32 = 10_000;
        let multipliers = [
            prices.prompt_multiplier,
            prices.cached_multiplier,
            prices.completion_multiplier,
            prices.reasoning_multiplier,
        ];
        let dearest = multipliers.into_iter().fold(ONE, u32::max);
        adjusted(tokens.saturating_add(self.bytes), coefficient, dearest)
    }
}

/// Read leniently: what is of the wrong type counts as not said, and the worker refuses it.
struct Body {
    n: u64,
    prompts: u64,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    N,
    Prompt,
    MaxTokens,
    MaxCompletionTokens,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(BodyVisitor)
    }
}

struct BodyVisitor;

impl<'de> Visitor<'de> for BodyVisitor {
    type Value = Body;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Body, A::Error> {
        let mut body = Body { n: 1, prompts: 1, max_tokens: None, max_completion_tokens: None };
        while let Some(field) = map.next_key::<Field>()? {
            match field {
                Field::N => body.n = map.next_value::<Shape>()?.number().unwrap_or(1),
                Field::Prompt => body.prompts = map.next_value::<Shape>()?.prompts(),
                Field::MaxTokens => body.max_tokens = map.next_value::<Shape>()?.number(),
                Field::MaxCompletionTokens => body.max_completion_tokens = map.next_value::<Shape>()?.number(),
                Field::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(body)
    }
}

/// What kind of value there is, without keeping it.
#[derive(Clone, Copy)]
enum Shape {
    Number(Option<u64>),
    /// So many members, and whether all are numbers.
    Array(u64, bool),
    Other,
}

impl Shape {
    fn number(self) -> Option<u64> {
        match self {
            Self::Number(number) => number,
            Self::Array(..) | Self::Other => None,
        }
    }

    /// How many prompts a `prompt` is: a text, several texts, the tokens of one, or those of several.
    fn prompts(self) -> u64 {
        match self {
            Self::Array(members, false) => members,
            Self::Array(_, true) | Self::Number(_) | Self::Other => 1,
        }
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_u64<E>(self, value: u64) -> Result<Shape, E> {
        Ok(Shape::Number(Some(value)))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Shape, E> {
        Ok(Shape::Number(None))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Shape, E> {
        Ok(Shape::Number(None))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_str<E>(self, _: &str) -> Result<Shape, E> {
        Ok(Shape::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Shape::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut members: A) -> Result<Shape, A::Error> {
        let (mut count, mut all_numbers) = (0u64, true);
        while let Some(member) = members.next_element::<Shape>()? {
            count += 1;
            all_numbers &= matches!(member, Shape::Number(_));
        }
        Ok(Shape::Array(count, all_numbers))
    }
}

#[cfg(test)]
mod tests {
    use ton::Nanoton;

    use super::*;

    const PRICES: Prices = Prices {
        fee_per_token: Nanoton(1),
        price_per_token: Nanoton(2),
        prompt_multiplier: 10_000,
        cached_multiplier: 1_000,
        completion_multiplier: 10_000,
        reasoning_multiplier: 10_000,
    };

    fn query(body: &str) -> Vec<u8> {
        Request {
            method: "POST".to_owned(),
            url: "/v1/completions".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: Vec::new(),
            body: body.as_bytes().to_vec(),
        }
        .encode()
    }

    fn asked(body: &str) -> (i64, Limit) {
        let query = query(body);
        let asked = Asked::read(&query);
        assert_eq!(asked.bytes, query.len() as i64);
        (asked.answers, asked.limit)
    }

    #[test]
    fn answers_are_counted_as_workers_count_them() {
        use Limit::{None, Stated, Unread};
        for (body, expected) in [
            (r#"{"model":"m","messages":[{"n":7}]}"#, (1, None)),
            (r#"{"n":16,"max_tokens":5}"#, (16, Stated(5))),
            (r#"{"n":3,"prompt":"one","max_completion_tokens":5,"max_tokens":9}"#, (3, Stated(5))),
            (r#"{"prompt":["a","b"],"n":4}"#, (8, None)),
            (r#"{"prompt":[1,2,3],"n":2}"#, (2, None)),
            (r#"{"prompt":[[1,2],[3]]}"#, (2, None)),
            (r#"{"prompt":[]}"#, (1, None)),
            (r#"{"n":0}"#, (1, None)),
            (r#"{"n":18446744073709551615,"prompt":["a","b"]}"#, (4096, None)),
            (r#"{"max_tokens":18446744073709551615}"#, (1, Stated(4_294_967_295))),
            (r#"{"n":"2","max_tokens":null}"#, (1, None)),
            (r#"{"n":-2,"max_tokens":1.5}"#, (1, None)),
            (r#"{"n":2,"n":3}"#, (3, None)),
            ("[]", (1, Unread)),
            ("nonsense", (1, Unread)),
            ("", (1, Unread)),
        ] {
            assert!(asked(body) == expected, "{body}");
        }
        assert_eq!(Asked::read(b"none"), Asked { bytes: 4, answers: 1, limit: Unread });
        let deep = format!(r#"{{"prompt":{}}}"#, "[".repeat(100_000));
        assert_eq!(asked(&deep), (1, Unread), "nested too deep to be read");
    }

    #[test]
    fn one_limited_answer_is_reckoned_as_a_genuine_proxy_does() {
        let query = query(r#"{"max_tokens":10}"#);
        let asked = Asked::read(&query);
        assert_eq!(asked.reserve(10, 4_000, &PRICES), (10 + query.len() as i64) * 4);
        // A cheap worker may not charge what a dear one might have.
        assert_eq!(asked.ceiling(10, 1_000_000, 1_000, &PRICES), 10 + query.len() as i64 + TEMPLATE_TOKENS);
    }

    #[test]
    fn a_client_who_says_less_than_its_body_is_held_to_the_body() {
        let query = query(r#"{"max_tokens":100000}"#);
        let bytes = query.len() as i64;
        for beside in [0, 5] {
            let asked = Asked::read(&query);
            assert_eq!(asked.reserve(beside, 1_000, &PRICES), 100_000 + bytes);
            assert_eq!(asked.ceiling(beside, 0, 1_000, &PRICES), 100_000 + bytes + TEMPLATE_TOKENS);
        }
        assert_eq!(Asked::read(&query).reserve(200_000, 1_000, &PRICES), 200_000 + bytes, "the genuine proxy's number");
    }

    #[test]
    fn several_answers_dear_tokens_and_no_limit_are_reckoned_with() {
        let query = query(r#"{"n":16,"max_tokens":1000}"#);
        let bytes = query.len() as i64;
        assert_eq!(Asked::read(&query).reserve(1_000, 1_000, &PRICES), 16_000 + bytes);
        let dear = Prices { completion_multiplier: 80_000, ..PRICES };
        assert_eq!(Asked::read(&query).reserve(1_000, 1_000, &dear), (16_000 + bytes) * 8);
        let unlimited = Asked { limit: Limit::None, answers: 1, bytes: 50 };
        assert_eq!(unlimited.reserve(1_000, 1_000, &PRICES), 1_050);
        assert_eq!(unlimited.ceiling(1_000, 10, 1_000, &PRICES), 1_050 + TEMPLATE_TOKENS);
        assert_eq!(unlimited.ceiling(1_000, 9_000, 1_000, &PRICES), 9_050 + TEMPLATE_TOKENS);
        assert!(unlimited.ceiling(i32::MAX, u64::MAX, i32::MAX, &PRICES) > 0, "no overflow");
    }
}
