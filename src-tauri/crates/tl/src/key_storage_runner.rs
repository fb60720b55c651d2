//! The genuine key storage's configuration.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// What a genuine key storage is told. `machine_specific_private_key` is secret.
    #[derive(ZeroizeOnDrop)]
    struct Config = 0xd7874e40, "keyStorageRunner.config" => "keyStorageRunner.Config" {
        is_test: bool,
        is_testnet: bool,
        rpc_port: i32,
        http_port: i32,
        root_contract_address: String,
        machine_specific_private_key: [u8; 32],
        ton_config_filename: String,
        db_path: String,
        check_hashes: bool,
        image_hash: [u8; 32],
        http_access_hash: String,
    }
}
