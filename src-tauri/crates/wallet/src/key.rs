//! A key in memory, and what it signs.

use ed25519_dalek::{Signer as _, SigningKey};
use ton::{Address, Cell, Transfer, TransferError, Unsigned, WalletContract, boc};

/// A private key: never printed, wiped when dropped.
pub(crate) struct Key(SigningKey);

impl Key {
    pub(crate) fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }
}

/// An unlocked wallet. It signs transfers of its own contract and nothing else; dropping it locks it.
pub struct Wallet {
    key: Key,
    contract: WalletContract,
}

/// A signed transfer, ready to be stored and then sent, always as the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The message from outside as a bag of cells.
    pub boc: Vec<u8>,
    /// Hash of the message's cell.
    pub message_hash: [u8; 32],
    /// The hash by which it is followed on chain (TEP-467).
    pub normalized_hash: [u8; 32],
    /// The wallet it is for.
    pub wallet: Address,
    /// The wallet's count of it.
    pub seqno: u32,
    /// Unix seconds after which it can't land any more.
    pub valid_until: u32,
}

impl Wallet {
    pub(crate) fn new(key: Key, contract: WalletContract) -> Self {
        Self { key, contract }
    }

    /// The contract it signs for.
    pub fn contract(&self) -> WalletContract {
        self.contract
    }

    /// Where that lives.
    pub fn address(&self) -> Address {
        self.contract.address()
    }

    /// The signature alone, over the hash of what [`WalletContract::body_to_sign`] makes of it.
    pub fn signature(&self, unsigned: &Unsigned) -> Result<[u8; 64], TransferError> {
        Ok(self.key.0.sign(&self.contract.body_to_sign(unsigned)?.hash()).to_bytes())
    }

    /// Signs. A first transfer (seqno 0) brings the contract with it.
    pub fn sign(&self, unsigned: &Unsigned) -> Result<Signed, TransferError> {
        let Unsigned::Transfer(Transfer { seqno, valid_until, .. }) = unsigned;
        let to_sign: Cell = self.contract.body_to_sign(unsigned)?;
        let signature = self.key.0.sign(&to_sign.hash()).to_bytes();
        let body = self.contract.signed_body(&to_sign, &signature)?;
        let message = self.contract.external(body, *seqno == 0);
        let cell = message.to_cell()?;
        // Cells that were built just now can all be written, unless something in them is known by its hash alone.
        let boc = boc::encode(&cell).map_err(|_| TransferError::Cell(ton::CellError::Opaque))?;
        Ok(Signed {
            boc,
            message_hash: cell.hash(),
            normalized_hash: message.normalized_hash()?,
            wallet: message.destination,
            seqno: *seqno,
            valid_until: *valid_until,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::{Scheme, Words};
    use ton::{InternalMessage, Nanoton, Network, Outgoing, SendMode, SignedTransfer, Transfer, Unsigned};
    use ton::{Message, WalletContract, WalletVersion, boc, comment};

    const KNOWN: &str = "clown round unhappy actual inhale cricket exhaust barrel kingdom cinnamon apple mechanic steel cabbage mercy deputy two perfect nothing when spare maple crew one";

    #[test]
    fn a_signed_transfer_has_the_known_hashes_and_says_what_it_was_told() {
        let key = Words::parse(KNOWN).unwrap().key(Scheme::Ton);
        let contract = WalletContract::new(WalletVersion::V5R1, Network::Main, key.public());
        let wallet = super::Wallet::new(key, contract);
        let to = ton::AddressText::parse("EQCns7bYSp0igFvS1wpb5wsZjCKCV19MD5AVzI4EyxsnU73k").unwrap().address;
        let message = InternalMessage::new(to, true, Nanoton(1_234_567_890), comment("hello cocoon").unwrap());
        let messages = vec![Outgoing { mode: SendMode::TRANSFER, message }];
        let transfer = Transfer { seqno: 0, valid_until: 1_800_000_000, messages };
        let signed = wallet.sign(&Unsigned::Transfer(transfer.clone())).unwrap();
        let signature = wallet.signature(&Unsigned::Transfer(transfer.clone())).unwrap();
        let known = "4af993068a40a93f096a43f188eb577c23c59ba662928fe34441144d5102ad1b";
        assert_eq!(hex::encode(signed.message_hash), known);
        let known = "598d83a41921ba31007f04a415da7bbf464349cbbfb3e98c0da7d355d03902a8";
        assert_eq!(hex::encode(signed.normalized_hash), known);
        let Ok(Message::External(message)) = Message::from_cell(&boc::decode(&signed.boc).unwrap()) else {
            panic!("no message from outside")
        };
        assert_eq!((message.destination, message.init), (wallet.address(), Some(contract.state_init())));
        let read = SignedTransfer::read(WalletVersion::V5R1, &message.body).unwrap();
        assert_eq!((read.transfer, read.signature), (transfer, signature));
    }

    /// Made by TON's own libraries of random phrases (tests/contracts/wallet.mjs).
    const VECTORS: &str = include_str!("../../../../tests/fixtures/wallet/vectors.json");

    #[test]
    fn words_keys_addresses_and_signed_transfers_are_those_of_tons_own_libraries() {
        let vectors: Vec<serde_json::Value> = serde_json::from_str(VECTORS).unwrap();
        assert_eq!(vectors.len(), 11);
        for vector in &vectors {
            let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
            let words = Words::parse(&text(&vector["words"])).unwrap();
            let scheme = if vector["scheme"] == "ton" { Scheme::Ton } else { Scheme::Bip39 };
            assert_eq!(words.schemes(), [scheme]);
            assert_eq!(hex::encode(words.key(scheme).public()), text(&vector["public_key"]));
            let sent = &vector["transfer"];
            let transfer = || {
                let to = text(&sent["to"]);
                let hash = hex::decode(&to[2..]).unwrap().try_into().unwrap();
                let to = ton::Address { workchain: 0, hash };
                let value = Nanoton(text(&sent["nanoton"]).parse().unwrap());
                let body = comment(&text(&sent["comment"])).unwrap();
                let message = InternalMessage::new(to, sent["bounce"].as_bool().unwrap(), value, body);
                let number = |name: &str| u32::try_from(sent[name].as_u64().unwrap()).unwrap();
                let messages = vec![Outgoing { mode: SendMode::TRANSFER, message }];
                Unsigned::Transfer(Transfer { seqno: number("seqno"), valid_until: number("valid_until"), messages })
            };
            for (name, version, network) in [
                ("v5r1_main", WalletVersion::V5R1, Network::Main),
                ("v5r1_test", WalletVersion::V5R1, Network::Test),
                ("v4r2", WalletVersion::V4R2, Network::Main),
                ("v3r2", WalletVersion::V3R2, Network::Main),
            ] {
                let key = words.key(scheme);
                let contract = WalletContract::new(version, network, key.public());
                let signed = super::Wallet::new(key, contract).sign(&transfer()).unwrap();
                let known = &vector["wallets"][name];
                assert_eq!(contract.address().to_string(), text(&known["address"]), "{name}");
                assert_eq!(hex::encode(signed.message_hash), text(&known["message"]), "{name} of {sent}");
                assert_eq!(hex::encode(signed.normalized_hash), text(&known["normalised"]), "{name} of {sent}");
            }
        }
    }
}
