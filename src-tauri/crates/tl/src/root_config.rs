//! The parameters of a network, as its programs keep them.

use crate::schema::schema;

schema! {
    /// The parameters of a network.
    #[derive(Debug)]
    enum Config: "rootConfig.Config" {
        /// As the root contract gives them. Prices and stakes are nanotons.
        V5(V5 = 0x5e84869b, "rootConfig.configV5") {
            root_owner_address: String,
            proxy_hashes: Vec<[u8; 32]>,
            registered_proxies: Vec<RegisteredProxy>,
            last_proxy_seqno: i32,
            worker_hashes: Vec<[u8; 32]>,
            model_hashes: Vec<[u8; 32]>,
            version: i32,
            struct_version: i32,
            params_version: i32,
            unique_id: i32,
            is_test: i32,
            price_per_token: i64,
            worker_fee_per_token: i64,
            prompt_tokens_price_multiplier: i32,
            cached_tokens_price_multiplier: i32,
            completion_tokens_price_multiplier: i32,
            reasoning_tokens_price_multiplier: i32,
            proxy_delay_before_close: i32,
            client_delay_before_close: i32,
            min_proxy_stake: i64,
            min_client_stake: i64,
            proxy_sc_code: String,
            worker_sc_code: String,
            client_sc_code: String,
        },
        /// As a file gives them, in place of a chain.
        Pseudo(PSEUDO = 0x87a976cc, "rootConfig.pseudo") {
            proxy_hashes: Vec<[u8; 32]>,
            worker_hashes: Vec<[u8; 32]>,
            model_hashes: Vec<[u8; 32]>,
            model_types: Vec<String>,
            registered_proxies: Vec<RegisteredProxy>,
            price_per_token: i32,
            worker_fee_per_token: i32,
            last_proxy_seqno: i32,
            version: i32,
            params_version: i32,
            proxy_sc_code: String,
            worker_sc_code: String,
            client_sc_code: String,
            root_owner_address: String,
        },
    }

    /// A proxy a network admits.
    #[derive(Debug)]
    struct RegisteredProxy = 0x9f4e446a, "rootConfig.registeredProxy" => "rootConfig.RegisteredProxy" {
        seqno: i32,
        /// `host:port` for workers, a space, `host:port` for clients; or one for both.
        address: String,
    }
}
