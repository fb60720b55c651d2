//! The values a genuine proxy keeps in its database.

use crate::root_config;
use crate::schema::schema;
use crate::ton;

schema! {
    /// What a proxy remembers of a client.
    #[derive(Debug)]
    enum ClientInfo: "proxyDb.ClientInfo" {
        /// Without a stake.
        V1(V1 = 0x6cfeaa21, "proxyDb.clientInfo") {
            owner_address: String,
            sc_address: String,
            status: i32,
            balance: i64,
            sc_tokens_used: i64,
            tokens_used: i64,
            secret_hash: [u8; 32],
            last_request_at: i32,
        },
        /// With a stake.
        V2(V2 = 0x3078c9bf, "proxyDb.clientInfoV2") {
            owner_address: String,
            sc_address: String,
            status: i32,
            balance: i64,
            stake: i64,
            sc_tokens_used: i64,
            tokens_used: i64,
            secret_hash: [u8; 32],
            last_request_at: i32,
        },
    }

    /// What a proxy remembers of itself.
    #[derive(Debug)]
    enum Config: "proxyDb.Config" {
        /// Nothing yet.
        Empty(EMPTY = 0x43dc40b4, "proxyDb.configEmpty"),
        /// In service.
        V4(V4 = 0xbde43703, "proxyDb.configV4") {
            root_contract_address: String,
            is_testnet: i32,
            root_contract_state: root_config::Config,
            root_contract_state_block_ts: i32,
            sc_block_id: ton::BlockIdExt,
            last_seqno_committed_to_blockchain: i32,
            pending_blockchain_seqno_commits: Vec<PendingBlockchainSeqnoCommit>,
        },
        /// Out of service until a newer root configuration.
        V4Disabled(V4_DISABLED = 0xad2cfb4a, "proxyDb.configV4Disabled") {
            root_contract_address: String,
            is_testnet: i32,
            root_contract_state: root_config::Config,
            root_contract_state_block_ts: i32,
            disabled_until_version: i64,
        },
    }

    /// A client of a contract being closed.
    #[derive(Debug)]
    struct OldClient = 0x2fae7b42, "proxyDb.oldClient" => "proxyDb.OldClient" {
        owner_address: String,
        tokens: i64,
        next_client: String,
    }

    /// A contract being closed.
    #[derive(Debug)]
    struct OldInstance = 0xa8c9e178, "proxyDb.oldInstance" => "proxyDb.OldInstance" {
        contract_address: String,
        closing_state: i32,
        close_at: i32,
        next_client: String,
        next_worker: String,
        root_contract_state: root_config::Config,
    }

    /// A worker of a contract being closed.
    #[derive(Debug)]
    struct OldWorker = 0xf04156a0, "proxyDb.oldWorker" => "proxyDb.OldWorker" {
        owner_address: String,
        tokens: i64,
        next_worker: String,
    }

    /// A transaction under way.
    #[derive(Debug)]
    struct PendingBlockchainSeqnoCommit = 0x525b14a9, "proxyDb.pendingBlockchainSeqnoCommit" => "proxyDb.PendingBlockchainSeqnoCommit" {
        seqno: i32,
        session_hash: [u8; 32],
    }

    /// What a proxy remembers of a worker.
    #[derive(Debug)]
    struct WorkerInfo = 0x2517b38f, "proxyDb.workerInfo" => "proxyDb.WorkerInfo" {
        owner_address: String,
        sc_address: String,
        sc_tokens: i64,
        tokens: i64,
        last_request_at: i32,
    }
}
