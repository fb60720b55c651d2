//! What a proxy sends, and what it is answered: queries to workers, answers, signed payments.

use crate::TokensUsed;
use crate::schema::schema;

schema! {
    /// The payment that covers a finished job.
    #[derive(Debug)]
    enum WorkerRequestPayment: "proxy.WorkerRequestPayment" {
        /// To the client that asked.
        Client(CLIENT = 0xc6bcf127, "proxy.clientRequestPayment") {
            request_id: [u8; 32],
            signed_payment: SignedPayment,
            db_tokens: i64,
            max_tokens: i64,
            request_tokens: i64,
        },
        /// To the worker that ran it.
        Worker(WORKER = 0x1436c0d5, "proxy.workerRequestPayment") {
            request_id: [u8; 32],
            signed_payment: SignedPayment,
            db_tokens: i64,
            max_tokens: i64,
            request_tokens: i64,
            request_client_owner: String,
        },
    }

    /// Who a proxy is.
    #[derive(Debug, Default)]
    struct Params = 0xd5c5609f, "proxy.params" => "proxy.Params" {
        flags: u32,
        /// The Ed25519 key that signs payments.
        proxy_public_key: [u8; 32],
        proxy_owner_address: String,
        proxy_sc_address: String,
        is_test: bool [if flags.0],
        /// The version agreed upon.
        proto_version: i32 [if flags.1],
    }

    /// A worker's first answer, up to protocol version 0.
    enum QueryAnswer: "proxy.QueryAnswer" {
        /// The head and first bytes.
        Answer(ANSWER = 0x37e5f725, "proxy.queryAnswer") {
            answer: Vec<u8>,
            is_completed: bool,
            request_id: [u8; 32],
            tokens_used: TokensUsed,
        },
        /// The job failed.
        Error(ERROR = 0x669d014e, "proxy.queryAnswerError") {
            error_code: i32,
            error: String,
            request_id: [u8; 32],
            tokens_used: TokensUsed,
        },
    }

    /// A worker's answers, from protocol version 1.
    enum QueryAnswerEx: "proxy.QueryAnswerEx" {
        /// The job failed.
        Error(ERROR = 0x8f7fb0a7, "proxy.queryAnswerErrorEx") {
            request_id: [u8; 32],
            error_code: i32,
            error: String,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
        /// The head and first bytes.
        Answer(ANSWER = 0x1ce574e8, "proxy.queryAnswerEx") {
            request_id: [u8; 32],
            answer: Vec<u8>,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
        /// More bytes; the last part carries `final_info`.
        Part(PART = 0x6d85b50f, "proxy.queryAnswerPartEx") {
            request_id: [u8; 32],
            answer: Vec<u8>,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
    }

    /// A later part of an answer, up to protocol version 0.
    enum QueryAnswerPart: "proxy.QueryAnswerPart" {
        /// More bytes.
        Part(PART = 0x72eb00ee, "proxy.queryAnswerPart") {
            answer: Vec<u8>,
            is_completed: bool,
            request_id: [u8; 32],
            tokens_used: TokensUsed,
        },
        /// The job failed midway.
        Error(ERROR = 0x940e1168, "proxy.queryAnswerPartError") {
            error_code: i32,
            error: String,
            request_id: [u8; 32],
            tokens_used: TokensUsed,
        },
    }

    /// What a worker tells when a job is over. Times are seconds since 1970.
    #[derive(Debug, Default)]
    struct QueryFinalInfo = 0xe794e6fc, "proxy.queryFinalInfo" => "proxy.QueryFinalInfo" {
        flags: u32,
        tokens_used: TokensUsed,
        worker_debug: String [if flags.0],
        worker_start_time: f64 [if flags.1],
        worker_end_time: f64 [if flags.1],
    }

    /// A job for a worker, up to protocol version 0.
    struct RunQuery = 0x47182416, "proxy.runQuery" => "proxy.QueryAnswer" {
        /// A boxed [`crate::http::Request`].
        query: Vec<u8>,
        signed_payment: SignedPayment,
        coefficient: i64,
        /// Seconds.
        timeout: f64,
        request_id: [u8; 32],
    }

    /// A job for a worker, from protocol version 1.
    struct RunQueryEx = 0xc805e7e2, "proxy.runQueryEx" => "proxy.QueryAnswer" {
        /// A boxed [`crate::http::Request`].
        query: Vec<u8>,
        signed_payment: SignedPayment,
        coefficient: i64,
        /// Seconds.
        timeout: f64,
        request_id: [u8; 32],
        flags: u32,
        enable_debug: bool [if flags.0],
    }

    /// The running total a proxy has signed for somebody.
    #[derive(Debug)]
    enum SignedPayment: "proxy.SignedPayment" {
        /// A signed message, as a bag of cells.
        Payment(PAYMENT = 0x02998182, "proxy.signedPayment") {
            data: Vec<u8>,
        },
        /// Nothing signed yet.
        Empty(EMPTY = 0xb347ce64, "proxy.signedPaymentEmpty"),
    }
}
