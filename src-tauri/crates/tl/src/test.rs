//! The schema's own test query.

use crate::schema::schema;

schema! {
    /// The answer with a number.
    #[derive(Debug)]
    struct Answer = 0x0d4fcdb6, "test.answer" => "test.Answer" {
        id: i64,
    }

    /// A question with a number.
    #[derive(Debug)]
    struct Query = 0x394e9143, "test.query" => "test.Answer" {
        id: i64,
    }
}
