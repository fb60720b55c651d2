//! The key manager's two questions and its answer.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// A proxy asks for its keys.
    #[derive(Debug)]
    struct GetProxyPrivateKeys = 0x47a9c2de, "keyManager.getProxyPrivateKeys" => "keyManager.PrivateKeys" {
        min_config_version: i32,
    }

    /// A worker asks for its keys.
    #[derive(Debug)]
    struct GetWorkerPrivateKeys = 0x2a26eff5, "keyManager.getWorkerPrivateKeys" => "keyManager.PrivateKeys" {
        min_config_version: i32,
    }

    /// One key.
    #[derive(ZeroizeOnDrop)]
    struct PrivateKey = 0x60f4f8e7, "keyManager.privateKey" => "keyManager.PrivateKey" {
        valid_until_utime: i32,
        private_key: [u8; 32],
    }

    /// The keys.
    struct PrivateKeys = 0x0ed66ce5, "keyManager.privateKeys" => "keyManager.PrivateKeys" {
        keys: Vec<PrivateKey>,
    }
}
