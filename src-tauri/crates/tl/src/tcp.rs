//! What travels in a frame.

use crate::schema::schema;

schema! {
    /// The payload of every frame.
    enum Packet: "tcp.Packet" {
        /// The dialler opens the conversation.
        Connect(CONNECT = 0xa57c4261, "tcp.connect") {
            id: i64,
        },
        /// The acceptor repeats the id.
        Connected(CONNECTED = 0x636d41d6, "tcp.connected") {
            id: i64,
        },
        /// An object that wants no answer.
        Packet(PACKET = 0x9c17baf8, "tcp.packet") {
            data: Vec<u8>,
        },
        /// The dialler asks for a sign of life.
        Ping(PING = 0xbbe9627c, "tcp.ping") {
            id: i64,
        },
        /// The sign of life, with the ping's id.
        Pong(PONG = 0x0bd4302c, "tcp.pong") {
            id: i64,
        },
        /// A function that wants an answer.
        Query(QUERY = 0x3af51908, "tcp.query") {
            id: i64,
            data: Vec<u8>,
        },
        /// The result of a function.
        QueryAnswer(QUERY_ANSWER = 0xc048c311, "tcp.queryAnswer") {
            id: i64,
            data: Vec<u8>,
        },
        /// A function came to nothing.
        QueryError(QUERY_ERROR = 0x4cd2f602, "tcp.queryError") {
            id: i64,
            code: i32,
            message: String,
        },
    }
}
