//! Between a client and its proxy.

use crate::TokensUsed;
use crate::proxy::{self, SignedPayment};
use crate::schema::schema;

schema! {
    /// The verdict on a proof.
    #[derive(Debug)]
    enum AuthorizationWithProxy: "client.AuthorizationWithProxy" {
        /// They may not.
        Failed(FAILED = 0x60551c96, "client.authorizationWithProxyFailed") {
            error_code: i32,
            error: String,
        },
        /// Queries may come.
        Success(SUCCESS = 0x75d5ac34, "client.authorizationWithProxySuccess") {
            signed_payment: SignedPayment,
            tokens_committed_to_db: i64,
            max_tokens: i64,
        },
    }

    /// The client waits for its transaction to be seen.
    #[derive(Debug)]
    struct AuthorizeWithProxyLong = 0xd3474303, "client.authorizeWithProxyLong" => "client.AuthorizationWithProxy" {}

    /// The proof by secret.
    struct AuthorizeWithProxyShort = 0x6c276723, "client.authorizeWithProxyShort" => "client.AuthorizationWithProxy" {
        data: Vec<u8>,
    }

    /// First query of a client.
    #[derive(Debug)]
    struct ConnectToProxy = 0xff5fa0f4, "client.connectToProxy" => "client.ConnectedToProxy" {
        params: Params,
        /// The oldest root configuration the client puts up with.
        min_config_version: i32,
    }

    /// The proxy accepts a client, and says how it may prove itself.
    #[derive(Debug)]
    struct ConnectedToProxy = 0x95317ad1, "client.connectedToProxy" => "client.ConnectedToProxy" {
        params: proxy::Params,
        client_sc_address: String,
        auth: ProxyConnectionAuth,
        signed_payment: SignedPayment,
    }

    /// Which models are served?
    #[derive(Debug)]
    struct GetWorkerTypes = 0x7f062bdb, "client.getWorkerTypes" => "client.WorkerTypes" {}

    /// Which models are served, and by whom?
    #[derive(Debug)]
    struct GetWorkerTypesV2 = 0xb2133d72, "client.getWorkerTypesV2" => "client.WorkerTypesV2" {}

    /// Who a client is.
    #[derive(Debug, Default)]
    struct Params = 0x40fdca64, "client.params" => "client.Params" {
        flags: u32,
        client_owner_address: String,
        is_test: bool [if flags.0],
        min_proto_version: i32 [if flags.1],
        max_proto_version: i32 [if flags.1],
    }

    /// The latest signed payment, and the counts behind it.
    #[derive(Debug)]
    struct PaymentStatus = 0xaa8a0ecc, "client.paymentStatus" => "client.PaymentStatus" {
        signed_payment: SignedPayment,
        db_tokens: i64,
        max_tokens: i64,
    }

    /// How a client may prove that it owns its contract.
    #[derive(Debug)]
    enum ProxyConnectionAuth: "client.ProxyConnectionAuth" {
        /// By a transaction that carries the nonce.
        Long(LONG = 0x417bf016, "client.proxyConnectionAuthLong") {
            nonce: i64,
        },
        /// By a secret whose hash the contract holds.
        Short(SHORT = 0xd6ffc5af, "client.proxyConnectionAuthShort") {
            secret_hash: [u8; 32],
            nonce: i64,
        },
    }

    /// A first answer, up to protocol version 0.
    enum QueryAnswer: "client.QueryAnswer" {
        /// The head and first bytes.
        Answer(ANSWER = 0x9b943922, "client.queryAnswer") {
            answer: Vec<u8>,
            is_completed: bool,
            request_id: [u8; 32],
            request_tokens_used: TokensUsed,
        },
        /// The question failed.
        Error(ERROR = 0x6d60569a, "client.queryAnswerError") {
            error_code: i32,
            error: String,
            request_id: [u8; 32],
            request_tokens_used: TokensUsed,
        },
    }

    /// Answers, from protocol version 1.
    enum QueryAnswerEx: "client.QueryAnswerEx" {
        /// The question failed.
        Error(ERROR = 0x072562a8, "client.queryAnswerErrorEx") {
            request_id: [u8; 32],
            error_code: i32,
            error: String,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
        /// The head and first bytes.
        Answer(ANSWER = 0xcd524720, "client.queryAnswerEx") {
            request_id: [u8; 32],
            answer: Vec<u8>,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
        /// More bytes; the last part carries `final_info`.
        Part(PART = 0xc07bfaec, "client.queryAnswerPartEx") {
            request_id: [u8; 32],
            answer: Vec<u8>,
            flags: u32,
            final_info: QueryFinalInfo [if flags.0],
        },
    }

    /// A later part of an answer, up to protocol version 0.
    enum QueryAnswerPart: "client.QueryAnswerPart" {
        /// More bytes.
        Part(PART = 0xb765de4c, "client.queryAnswerPart") {
            answer: Vec<u8>,
            is_completed: bool,
            request_id: [u8; 32],
            request_tokens_used: TokensUsed,
        },
        /// The question failed midway.
        Error(ERROR = 0xd790a022, "client.queryAnswerPartError") {
            error_code: i32,
            error: String,
            request_id: [u8; 32],
            request_tokens_used: TokensUsed,
        },
    }

    /// What a proxy tells when a question is over. Times are seconds since 1970.
    #[derive(Debug, Default)]
    struct QueryFinalInfo = 0x69a452f0, "client.queryFinalInfo" => "client.QueryFinalInfo" {
        flags: u32,
        tokens_used: TokensUsed,
        worker_debug: String [if flags.0],
        proxy_debug: String [if flags.0],
        proxy_start_time: f64 [if flags.1],
        proxy_end_time: f64 [if flags.1],
        worker_start_time: f64 [if flags.1],
        worker_end_time: f64 [if flags.1],
    }

    /// The answer to that.
    #[derive(Debug)]
    enum Refund: "client.Refund" {
        /// A signed message that frees the balance.
        Refund(REFUND = 0x83aabead, "client.refund") {
            data: Vec<u8>,
        },
        /// Questions are still open.
        Rejected(REJECTED = 0xcf9d9957, "client.refundRejected") {
            active_queries: i64,
        },
    }

    /// A client wants its unspent balance back.
    #[derive(Debug)]
    struct RequestRefund = 0x238d863d, "client.requestRefund" => "client.Refund" {}

    /// A question, up to protocol version 0.
    struct RunQuery = 0xbc748f32, "client.runQuery" => "client.QueryAnswer" {
        model_name: String,
        /// A boxed [`crate::http::Request`].
        query: Vec<u8>,
        /// Dearest worker admitted, in thousandths of the network's price.
        max_coefficient: i32,
        max_tokens: i32,
        /// Seconds.
        timeout: f64,
        request_id: [u8; 32],
        min_config_version: i32,
    }

    /// A question, from protocol version 1.
    struct RunQueryEx = 0xf54cb74b, "client.runQueryEx" => "client.QueryAnswerEx" {
        model_name: String,
        /// A boxed [`crate::http::Request`].
        query: Vec<u8>,
        /// Dearest worker admitted, in thousandths of the network's price.
        max_coefficient: i32,
        max_tokens: i32,
        /// Seconds.
        timeout: f64,
        request_id: [u8; 32],
        min_config_version: i32,
        flags: u32,
        enable_debug: bool [if flags.0],
    }

    /// A client asks what it owes.
    #[derive(Debug)]
    struct UpdatePaymentStatus = 0x9ed1c697, "client.updatePaymentStatus" => "client.PaymentStatus" {}

    /// One worker, nameless.
    #[derive(Debug)]
    struct WorkerInstanceV2 = 0x3ea93d00, "client.workerInstanceV2" => "client.WorkerInstanceV2" {
        flags: u32,
        coefficient: i32,
        active_requests: i32,
        max_active_requests: i32,
    }

    /// One model, with the spread of its prices.
    #[derive(Debug)]
    struct WorkerType = 0x8210e21c, "client.workerType" => "client.WorkerType" {
        name: String,
        active_workers: i32,
        coefficient_min: i32,
        coefficient_bucket50: i32,
        coefficient_max: i32,
    }

    /// One model, with its workers.
    #[derive(Debug)]
    struct WorkerTypeV2 = 0xb27d8197, "client.workerTypeV2" => "client.WorkerTypeV2" {
        name: String,
        workers: Vec<WorkerInstanceV2>,
    }

    /// The models served.
    #[derive(Debug)]
    struct WorkerTypes = 0xf64e0e01, "client.workerTypes" => "client.WorkerTypes" {
        types: Vec<WorkerType>,
    }

    /// The models served.
    #[derive(Debug)]
    struct WorkerTypesV2 = 0x0cf0dc67, "client.workerTypesV2" => "client.WorkerTypesV2" {
        types: Vec<WorkerTypeV2>,
    }
}
