//! The genuine worker's configuration.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// What a genuine worker is told. `node_wallet_key` is secret.
    #[derive(ZeroizeOnDrop)]
    struct Config = 0x870db56d, "workerRunner.config" => "workerRunner.Config" {
        is_test: bool,
        is_testnet: bool,
        http_port: i32,
        owner_address: String,
        proxy_connections: i32,
        connect_to_proxy_via: String,
        model_name: String,
        coefficient: i32,
        root_contract_address: String,
        node_wallet_key: [u8; 32],
        forward_requests_to: String,
        ton_config_filename: String,
        check_proxy_hashes: bool,
        max_active_requests: i32,
        image_hash: [u8; 32],
        http_access_hash: String,
    }
}
