//! The values a genuine key manager keeps in its database.

use crate::schema::schema;
use zeroize::ZeroizeOnDrop;

schema! {
    /// What a key manager remembers of itself.
    #[derive(Debug)]
    enum Config: "keyManagerDb.Config" {
        /// Nothing yet.
        Empty(EMPTY = 0xd3fc2385, "keyManagerDb.configEmpty"),
        /// The root contract it last saw.
        V1(V1 = 0x6d2817ac, "keyManagerDb.configV1") {
            root_contract_version: i32,
        },
    }

    /// A key it gave out.
    #[derive(ZeroizeOnDrop)]
    struct Key = 0x4d0a1e17, "keyManagerDb.key" => "keyManagerDb.Key" {
        private_key: [u8; 32],
        for_proxies: bool,
        for_workers: bool,
        valid_since_config_version: i32,
        valid_since_utime: i32,
        valid_until_utime: i32,
    }
}
