//! What we say beyond the schema: evidence, what a proxy demands, and enrolment of a TPM at a registrar.
//!
//! The names are in a namespace of their own, so that no id is one of the schema's. A genuine program answers these queries with
//! "Lost promise" and passes over the packet; see docs/protocol.md.

use crate::schema::schema;

schema! {
    /// The answer to a challenge.
    struct Activate = 0x479f88a6, "chrysalis.activate" => "chrysalis.Statement" {
        /// Of the challenge.
        id: [u8; 32],
        /// What the TPM found in it.
        secret: Vec<u8>,
    }

    /// What only the TPM of the endorsement key can open.
    #[derive(Debug)]
    struct Challenge = 0x5cf9a47d, "chrysalis.challenge" => "chrysalis.Challenge" {
        id: [u8; 32],
        /// The content of a `TPM2B_ID_OBJECT`.
        credential: Vec<u8>,
        /// The content of a `TPM2B_ENCRYPTED_SECRET`.
        secret: Vec<u8>,
    }

    /// Asks a registrar to speak for an attestation key.
    struct Enrol = 0x37163efa, "chrysalis.enrol" => "chrysalis.Challenge" {
        /// X.509 in DER: that of the endorsement key first, then those between it and its vendor's root. May be empty.
        ek_certificates: Vec<Vec<u8>>,
        /// `TPMT_PUBLIC` of the endorsement key.
        ek_public: Vec<u8>,
        /// `TPMT_PUBLIC` of the attestation key.
        ak_public: Vec<u8>,
        /// The proxy's payment key: the statement is for this proxy only.
        audience: [u8; 32],
    }

    /// Evidence in its container.
    struct Evidence = 0x733657ea, "chrysalis.evidence" => "chrysalis.Evidence" {
        data: Vec<u8>,
    }

    /// Asks for evidence. Either side may ask the other.
    #[derive(Debug)]
    struct GetEvidence = 0x3f0b26fe, "chrysalis.getEvidence" => "chrysalis.Evidence" {
        /// Never used before.
        nonce: [u8; 32],
    }

    /// Asks a proxy what it demands of its workers.
    #[derive(Debug)]
    struct GetPolicy = 0xb4af42b4, "chrysalis.getPolicy" => "chrysalis.Policy" {}

    /// Asks a registrar to show that it is one.
    #[derive(Debug)]
    struct Introduce = 0xab031674, "chrysalis.introduce" => "chrysalis.Introduction" {
        /// Never used before.
        nonce: [u8; 32],
    }

    /// A registrar's key, at work on this connection.
    #[derive(Debug)]
    struct Introduction = 0x63a19d1e, "chrysalis.introduction" => "chrysalis.Introduction" {
        /// Ed25519.
        key: [u8; 32],
        /// Over the nonce and the key of its TLS certificate.
        signature: Vec<u8>,
    }

    /// What a proxy demands of its workers.
    #[derive(Debug)]
    struct Policy = 0x609b847f, "chrysalis.policy" => "chrysalis.Policy" {
        /// Numbers of the grades that are accepted, ascending.
        grades: Vec<i32>,
        /// Must Secure Boot have been on?
        secure_boot: bool,
        /// Whose statements count, in the order in which the operator likes them.
        registrars: Vec<Registrar>,
    }

    /// Who speaks for machines.
    #[derive(Debug)]
    struct Registrar = 0xa18c80fe, "chrysalis.registrar" => "chrysalis.Registrar" {
        /// `host:port`; may be empty.
        endpoint: String,
        /// Ed25519.
        key: [u8; 32],
    }

    /// A packet from proxy to worker: how it stands with this proxy.
    #[derive(Debug)]
    struct Standing = 0x05a05d18, "chrysalis.standing" => "chrysalis.Standing" {
        /// Does it get jobs?
        accepted: bool,
        /// Number of the grade that its evidence was found to have.
        grade: i32,
        /// Why not; empty if accepted.
        reason: String,
        /// What is demanded.
        policy: Policy,
    }

    /// What a registrar says of an attestation key.
    #[derive(Debug)]
    struct Statement = 0x181614e4, "chrysalis.statement" => "chrysalis.Statement" {
        /// The statement, signed.
        data: Vec<u8>,
    }
}
