//! Between a worker and its proxy: handshake, balance comparison, control.

use crate::proxy::{self, SignedPayment};
use crate::schema::schema;

schema! {
    /// A worker tells what it believes to have earned.
    #[derive(Debug)]
    struct CompareBalanceWithProxy = 0xdb386501, "worker.compareBalanceWithProxy" => "worker.CompareBalanceWithProxyResult" {
        tokens_committed_to_blockchain: i64,
        tokens_committed_to_db: i64,
        max_tokens: i64,
    }

    /// What the proxy believes.
    #[derive(Debug)]
    struct CompareBalanceWithProxyResult = 0x9054c411, "worker.compareBalanceWithProxyResult" => "worker.CompareBalanceWithProxyResult" {
        signed_payment: SignedPayment,
        tokens_committed_to_db: i64,
        max_tokens: i64,
        /// 0, or why the two cannot agree.
        error_code: i32,
    }

    /// First query of a worker.
    #[derive(Debug)]
    struct ConnectToProxy = 0xcc484c5d, "worker.connectToProxy" => "worker.ConnectedToProxy" {
        params: Params,
    }

    /// The proxy accepts a worker.
    #[derive(Debug)]
    struct ConnectedToProxy = 0x66bc82ee, "worker.connectedToProxy" => "worker.ConnectedToProxy" {
        params: proxy::Params,
        /// The worker's contract, in text.
        worker_sc_address: String,
    }

    /// A worker asks for jobs, or for none.
    #[derive(Debug)]
    struct EnabledDisabled = 0xb3b71039, "worker.enabledDisabled" => "worker.EnabledDisabled" {
        /// 0 when jobs are welcome, else 1.
        disabled: i32,
    }

    /// The comparison again, after a proxy lost its memory.
    #[derive(Debug)]
    struct ExtendedCompareBalanceWithProxy = 0xf8dd9914, "worker.extendedCompareBalanceWithProxy" => "worker.ExtendedCompareBalanceWithProxyResult" {
        tokens_committed_to_db: i64,
        other: Vec<u8>,
    }

    /// The verdict on it.
    #[derive(Debug)]
    struct ExtendedCompareBalanceWithProxyResult = 0x0c10973e, "worker.extendedCompareBalanceWithProxyResult" => "worker.ExtendedCompareBalanceWithProxyResult" {
        error_code: i32,
    }

    /// A worker changes its price.
    #[derive(Debug)]
    struct NewCoefficient = 0x6af092b0, "worker.newCoefficient" => "worker.NewCoefficient" {
        /// Thousandths of the network's price.
        new_coefficient: i32,
    }

    /// Who a worker is and what it offers.
    #[derive(Debug, Default)]
    struct Params = 0x869c73ed, "worker.params" => "worker.Params" {
        flags: u32,
        worker_owner_address: String,
        /// `base@commit:hash`, or less of it.
        model: String,
        /// Thousandths of the network's price.
        coefficient: i32,
        is_test: bool [if flags.0],
        proxy_cnt: i32 [if flags.0],
        max_active_requests: i32 [if flags.0],
        min_proto_version: i32 [if flags.1],
        max_proto_version: i32 [if flags.1],
    }

    /// The latest signed payment, and the counts behind it.
    #[derive(Debug)]
    struct PaymentStatus = 0xa88bd701, "worker.paymentStatus" => "worker.PaymentStatus" {
        signed_payment: SignedPayment,
        db_tokens: i64,
        max_tokens: i64,
    }

    /// Last query of the handshake: from here on jobs may come.
    #[derive(Debug)]
    struct ProxyHandshakeComplete = 0xf843b066, "worker.proxyHandshakeComplete" => "worker.HandshakeCompleted" {
        is_disabled: bool,
    }

    /// The proxy agrees.
    #[derive(Debug)]
    struct ProxyHandshakeCompleted = 0x3ad9b886, "worker.proxyHandshakeCompleted" => "worker.HandshakeCompleted" {}

    /// A worker asks for its latest signed payment.
    #[derive(Debug)]
    struct UpdatePaymentStatus = 0xdc70a524, "worker.updatePaymentStatus" => "worker.PaymentStatus" {}
}
