//! The genuine proxy's configuration.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// What a genuine proxy is told. Two of its keys are secret.
    #[derive(ZeroizeOnDrop)]
    struct Config = 0x5bf5e272, "proxyRunner.config" => "proxyRunner.Config" {
        is_test: bool,
        is_testnet: bool,
        workers_rpc_port: i32,
        client_rpc_port: i32,
        http_port: i32,
        owner_address: String,
        root_contract_address: String,
        machine_specific_private_key: [u8; 32],
        node_wallet_key: [u8; 32],
        ton_config_filename: String,
        db_path: String,
        check_worker_hashes: bool,
        image_hash: [u8; 32],
        http_access_hash: String,
    }
}
