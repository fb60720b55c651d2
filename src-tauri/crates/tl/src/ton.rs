//! The one record of TON's own that is stored.

use crate::schema::schema;

schema! {
    /// Which block.
    #[derive(Debug)]
    struct BlockIdExt = 0xbc3f6da5, "ton.blockIdExt" => "ton.BlockIdExt" {
        workchain: i32,
        shard: i64,
        seqno: i32,
        root_hash: Vec<u8>,
        file_hash: Vec<u8>,
    }
}
