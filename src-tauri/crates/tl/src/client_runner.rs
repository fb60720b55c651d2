//! The genuine client's configuration.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// What a genuine client is told. `node_wallet_key` and `secret_string` are secret.
    #[derive(ZeroizeOnDrop)]
    struct Config = 0xaf0bd51f, "clientRunner.config" => "clientRunner.Config" {
        is_test: bool,
        is_testnet: bool,
        http_port: i32,
        owner_address: String,
        proxy_connections: i32,
        connect_to_proxy_via: String,
        root_contract_address: String,
        node_wallet_key: [u8; 32],
        check_proxy_hashes: bool,
        secret_string: String,
        ton_config_filename: String,
        http_access_hash: String,
    }
}
