//! The words `chrysalis` understands.

use std::net::SocketAddr;
use std::path::PathBuf;

use accounting::ModelName;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use evidence::Grade;
use node::{BackendKind, EvidenceKind};
use ton::AddressText;

use crate::earnings::{EarningsArguments, ExportArguments};
use crate::prices::PriceWords;
use crate::release::VerifyReleaseArguments;

const EXIT_CODES: &str = "\
Exit codes:
  0  did what it was asked, or ended because it was asked to (Ctrl-C, SIGTERM)
  1  could not start or go on, or signed payments do not cover what was answered; the last line on standard error says why
     and what to do
  2  wrong command line

Everything but results goes to standard error; the environment variable CHRYSALIS_LOG sets how much (error, warn, info, debug).";

const LOOKING_CODES: &str = "\
Exit codes:
  0  it has looked, whatever it found
  1  a file or folder that was named can't be used; the last line on standard error says why and what to do
  2  wrong command line";

const IDENTITY_CODES: &str = "\
Exit codes:
  0  did what it was asked
  1  it could not, or --yes is missing; the last line on standard error says why and what to do
  2  wrong command line";

const VERIFY_CODES: &str = "\
Exit codes:
  0  it proves what it claims, which may be nothing
  1  it does not, or is no proof; the last line on standard error says why
  2  wrong command line";

/// Rent out your graphics card to networks that speak the protocol of Cocoon.
///
/// Cocoon's main network takes only servers with Intel TDX and NVIDIA cards of the H100 class; no home PC can join it today. What
/// this program does today: without a command it shows its window and an icon in the tray and practises on this machine; `practice` runs a whole network on this machine, with practice money that is worth nothing; `headless`
/// serves an open network whose operator accepts home PCs.
#[derive(Parser)]
#[command(name = "chrysalis", version, args_conflicts_with_subcommands = true, after_help = EXIT_CODES, after_long_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) app: AppArguments,
}

impl Cli {
    /// Refuses words that would change nothing, because whoever said them wanted something.
    pub(crate) fn checked(self) -> Result<Self, clap::Error> {
        let device = match &self.command {
            None => Some(&self.app.device),
            Some(Command::Practice(arguments)) => Some(&arguments.device),
            Some(Command::Headless(arguments)) => Some(&arguments.device),
            Some(
                Command::Detect(_)
                | Command::Doctor(_)
                | Command::Verify(_)
                | Command::Earnings(_)
                | Command::Export(_)
                | Command::Identity(_)
                | Command::Price(_)
                | Command::VerifyRelease(_)
                | Command::Wallet(_)
                | Command::Window { .. },
            ) => None,
        };
        let shown = match &self.command {
            Some(Command::Headless(arguments)) => arguments.contradiction(),
            _ => None,
        };
        match device.and_then(DeviceArguments::contradiction).or(shown) {
            Some(text) => Err(Self::command().error(ErrorKind::ArgumentConflict, text)),
            None => Ok(self),
        }
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Answer simulated customers on this machine; practice money is worth nothing
    #[command(after_help = EXIT_CODES)]
    Practice(PracticeArguments),
    /// Serve an open network without a window
    #[command(after_help = EXIT_CODES)]
    Headless(Box<HeadlessArguments>),
    /// Prove to proxies which computer this is, by its TPM: agree to a registrar, see what there is, forget it
    #[command(after_help = IDENTITY_CODES)]
    Identity(IdentityWords),
    /// Say what this machine and its graphics cards are, what is unknown, and which networks they can join
    #[command(after_help = LOOKING_CODES)]
    Detect(DetectArguments),
    /// Say what this PC can prove today, which networks would take it, and the one thing that is missing
    #[command(after_help = LOOKING_CODES)]
    Doctor(DoctorArguments),
    /// Say what a proof proves that a page Trust has handed out, computed anew from the evidence in it
    #[command(after_help = VERIFY_CODES)]
    Verify(VerifyArguments),
    /// Say how far what was earned has come; reads the ledger, also while the app is at work
    #[command(after_help = EXIT_CODES)]
    Earnings(EarningsArguments),
    /// Write payouts, fees and electricity as a table or a statement, for taxes and for yourself; a record, not tax advice
    #[command(after_help = EXIT_CODES)]
    Export(ExportArguments),
    /// Say what a TON is worth and what electricity costs you, for the page Earnings and for exports
    #[command(after_help = EXIT_CODES)]
    Price(PriceWords),
    /// Say whether a program file is in the log of released programs; 0 only if it is
    #[command(after_help = EXIT_CODES)]
    VerifyRelease(VerifyReleaseArguments),
    /// The owner's wallet: make or import one, look at it, send, fetch what was earned
    #[command(after_help = EXIT_CODES)]
    Wallet(WalletWords),
    /// The window's own process; started by the app
    #[command(hide = true)]
    Window {
        /// The app's folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

/// The app itself: an icon in the tray, a window, practice on this machine. All of it has defaults.
#[derive(Args)]
pub(crate) struct AppArguments {
    /// Start in the tray, without showing the window
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Begin to work at once
    #[arg(long)]
    pub(crate) start: bool,
    /// The GGUF file to serve [default: the practice model, where `cargo xtask model` keeps it]
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) model: Option<PathBuf>,
    /// Folder for the ledger and the practice network [default: chrysalis/practice in your data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How many simulated customers ask
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) customers: u32,
    /// Decides who asks what when
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    /// Where the TPM is that `chrysalis identity enrol` has used: a device, or the address of a simulator [default: /dev/tpmrm0]
    #[arg(long, value_name = "PLACE")]
    pub(crate) tpm: Option<String>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args)]
pub(crate) struct IdentityWords {
    #[command(subcommand)]
    pub(crate) command: IdentityCommand,
}

#[derive(Subcommand)]
pub(crate) enum IdentityCommand {
    /// Agree to a registrar: it is shown the endorsement key of this computer's TPM, proxies never are. Proxies that ask are then shown a
    /// key of their own, and that it belongs to some known machine
    #[command(after_help = IDENTITY_CODES)]
    Enrol(EnrolArguments),
    /// Say which registrar was agreed to, and for which proxies it has spoken (JSON)
    #[command(after_help = IDENTITY_CODES)]
    Show {
        /// The data folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
    /// Make a proof anew, for somebody who asks with a nonce, and print it: what the page Trust copies, for `chrysalis verify`. It has this
    /// computer's number at one proxy in it, and its boot log. No registrar and no proxy is asked
    #[command(after_help = EXIT_CODES)]
    Proof(ProveArguments),
    /// Take the agreement back: proxies are shown nothing any more
    #[command(after_help = IDENTITY_CODES)]
    Forget {
        /// The data folder
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

#[derive(Args)]
pub(crate) struct ProveArguments {
    /// The data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The nonce of whoever asks, 64 hexadecimal digits [default: one that is drawn here, which shows nobody that the proof is a new one]
    #[arg(long, value_name = "NONCE")]
    pub(crate) nonce: Option<String>,
    /// Payment key of the proxy whose statement is shown, 64 hexadecimal digits [default: any that is there]
    #[arg(long, value_name = "KEY")]
    pub(crate) proxy: Option<String>,
    /// Where the TPM is: a device, or the address of a simulator [default: /dev/tpmrm0]
    #[arg(long, value_name = "PLACE")]
    pub(crate) tpm: Option<String>,
}

#[derive(Args)]
pub(crate) struct EnrolArguments {
    /// The data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Where the registrar is
    #[arg(long, value_name = "HOST:PORT", value_parser = place)]
    pub(crate) registrar: String,
    /// Its key, 64 hexadecimal digits; whoever answers there without it is shown nothing
    #[arg(long, value_name = "KEY", value_parser = digits)]
    pub(crate) registrar_key: [u8; 32],
    /// Payment key of a proxy to enrol for now, 64 hexadecimal digits; may be given several times. Others are enrolled for when they ask
    #[arg(long, value_name = "KEY", value_parser = digits)]
    pub(crate) proxy: Vec<[u8; 32]>,
    /// Agree. Without it you are told to what
    #[arg(long)]
    pub(crate) yes: bool,
    /// Where the TPM is: a device, or the address of a simulator [default: /dev/tpmrm0]
    #[arg(long, value_name = "PLACE")]
    pub(crate) tpm: Option<String>,
}

#[derive(Args)]
pub(crate) struct WalletWords {
    #[command(subcommand)]
    pub(crate) command: WalletCommand,
}

/// Words and passwords come from a prompt, or from standard input line by line, never from here.
#[derive(Subcommand)]
pub(crate) enum WalletCommand {
    /// Make a wallet of 24 new words, which are shown once and then asked for
    Create(CreateArguments),
    /// Bring in a wallet by its words; its addresses are shown before anything is saved
    Import(ImportArguments),
    /// Say the wallet's address; nothing is unlocked
    Address(AddressArguments),
    /// Say what is in the wallet
    Balance(BalanceArguments),
    /// Say how money came and went, the newest first
    History(HistoryArguments),
    /// Send money; it is tried out and shown before you are asked
    Send(SendArguments),
    /// Fetch now what proxies have signed, and wait until it is in the wallet
    Collect(CollectArguments),
    /// Say where payouts go, or let them go to an address whose key is elsewhere; another one counts after 24 hours
    PayoutAddress(PayoutAddressArguments),
    /// Send everything in the worker's fee wallet to the payout address
    TakeBack(TakeBackArguments),
    /// Say or set how much may be sent within 24 hours
    Limit(LimitArguments),
    /// Say or set after how many minutes without use the app locks the wallet
    AutoLock(AutoLockArguments),
    /// Be asked for three of the wallet's words, so that you know that your paper is right
    CheckWords(AddressArguments),
    /// Delete the wallet from this computer; what is in it stays on the chain, for whoever has the words
    Delete(DeleteArguments),
}

#[derive(Args)]
pub(crate) struct CreateArguments {
    /// Folder for the wallet and the ledger; used by one chrysalis at a time
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// What shall guard the key: the system's keychain, that and a password, or a password alone where there is no keychain
    #[arg(long, value_enum, default_value_t = ProtectWord::Keychain)]
    pub(crate) protect: ProtectWord,
    /// A wallet for TON's test network, where coins are worth nothing
    #[arg(long)]
    pub(crate) testnet: bool,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ImportArguments {
    /// Folder for the wallet and the ledger; used by one chrysalis at a time
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// What shall guard the key: the system's keychain, that and a password, or a password alone where there is no keychain
    #[arg(long, value_enum, default_value_t = ProtectWord::Keychain)]
    pub(crate) protect: ProtectWord,
    /// A wallet for TON's test network, where coins are worth nothing
    #[arg(long)]
    pub(crate) testnet: bool,
    /// Take the words as BIP39's, as hardware wallets do, though they may fit TON's own scheme too
    #[arg(long)]
    pub(crate) bip39: bool,
    /// Only this version of the wallet's contract
    #[arg(long, value_enum)]
    pub(crate) version: Option<VersionWord>,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct AddressArguments {
    /// Folder of the wallet
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct BalanceArguments {
    /// Folder of the wallet
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct HistoryArguments {
    /// Folder of the wallet
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// How many of the wallet's last transactions
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) limit: u32,
    /// Print one JSON array
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct SendArguments {
    /// Whom to: an address of 48 characters
    #[arg(value_name = "ADDRESS")]
    pub(crate) to: String,
    /// How much, in whole coins: 1.5
    #[arg(value_name = "AMOUNT")]
    pub(crate) amount: String,
    /// A comment for the recipient, in the clear for everybody; exchanges need one
    #[arg(long, value_name = "TEXT")]
    pub(crate) comment: Option<String>,
    /// What must be left for the worker's fees, in whole coins
    #[arg(long, value_name = "AMOUNT", default_value = "0.5")]
    pub(crate) keep: String,
    /// Folder of the wallet and its ledger; no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Root contract of the network under which it is written down [default: the one this folder worked for last]
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) root: Option<AddressText>,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct CollectArguments {
    /// Folder of the wallet and its ledger; no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Root contract of the network that signed [default: the one this folder worked for last]
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) root: Option<AddressText>,
    /// The TON address that is paid [default: the payout address of this folder, else its wallet]
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) owner: Option<AddressText>,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PayoutAddressArguments {
    /// The new address, of 48 characters. The first one counts at once if there is no wallet yet; without it, the present one is said
    #[arg(value_name = "ADDRESS", conflicts_with = "cancel")]
    pub(crate) to: Option<String>,
    /// Keep the present address: a change that waits is taken back at once
    #[arg(long)]
    pub(crate) cancel: bool,
    /// Folder of the wallet and the ledger; for a change no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Where there is neither a wallet nor an address yet: for TON's test network
    #[arg(long)]
    pub(crate) testnet: bool,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct TakeBackArguments {
    /// Folder of the wallet and its ledger; no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Root contract of the network under which it is written down [default: the one this folder worked for last]
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) root: Option<AddressText>,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct LimitArguments {
    /// In whole coins, or none; without it, the present one is said
    #[arg(value_name = "TON|none")]
    pub(crate) limit: Option<String>,
    /// Folder of the wallet; for a change no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct AutoLockArguments {
    /// After so many minutes, or never; without it, the present setting is said
    #[arg(value_name = "MINUTES|never")]
    pub(crate) after: Option<String>,
    /// Folder of the wallet; for a change no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct DeleteArguments {
    /// Folder of the wallet and its ledger; no other chrysalis may use it meanwhile
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Do not ask for three of the words: you have them
    #[arg(long)]
    pub(crate) yes_i_have_the_words: bool,
    /// Print one JSON object as the last line of standard output
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct ChainArguments {
    /// An endpoint of the chain, as `https://toncenter.com/api/v2/jsonRPC`; with two or more, two must say the same before money moves
    #[arg(long, value_name = "URL")]
    pub(crate) chain: Vec<String>,
    /// A file with the endpoints' API key
    #[arg(long, value_name = "FILE")]
    pub(crate) chain_token_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProtectWord {
    Keychain,
    KeychainAndPassword,
    Password,
}

impl From<ProtectWord> for wallet::Protection {
    fn from(word: ProtectWord) -> Self {
        match word {
            ProtectWord::Keychain => Self::Keychain,
            ProtectWord::KeychainAndPassword => Self::KeychainAndPassword,
            ProtectWord::Password => Self::Password,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(crate) enum VersionWord {
    V5R1,
    V4R2,
    V3R2,
}

impl From<VersionWord> for ton::WalletVersion {
    fn from(word: VersionWord) -> Self {
        match word {
            VersionWord::V5R1 => Self::V5R1,
            VersionWord::V4R2 => Self::V4R2,
            VersionWord::V3R2 => Self::V3R2,
        }
    }
}

#[derive(Args)]
pub(crate) struct DetectArguments {
    /// Print one JSON object; what is unknown is null
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct DoctorArguments {
    /// A network file whose network is asked about too; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Vec<PathBuf>,
    /// Data folder whose registration counts, as `identity enrol` made it
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print one JSON object; what is unknown is null or says so
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct VerifyArguments {
    /// The proof, as the page Trust copies it
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// A registrar that you believe, by its key of 64 hexadecimal digits; can be given several times
    #[arg(long, value_name = "KEY", value_parser = digits)]
    pub(crate) registrar: Vec<[u8; 32]>,
    /// A network file whose registrars and images you believe; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) network: Vec<PathBuf>,
    /// What may run inside an isolated processor, a hash of 64 hexadecimal digits; can be given several times
    #[arg(long, value_name = "HASH", value_parser = digits)]
    pub(crate) image: Vec<[u8; 32]>,
    /// The nonce that you asked with, 64 hexadecimal digits: only with it is a proof known to be a new one
    #[arg(long, value_name = "NONCE", value_parser = digits)]
    pub(crate) nonce: Option<[u8; 32]>,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Args)]
pub(crate) struct PracticeArguments {
    /// End after at least this many answered questions, each covered by a signed payment; without it, go on until Ctrl-C
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) jobs: Option<u64>,
    /// Print one JSON object as the last line of standard output, everything else on standard error
    #[arg(long)]
    pub(crate) json: bool,
    /// The GGUF file to serve [default: the practice model, where `cargo xtask model` keeps it]
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) model: Option<PathBuf>,
    /// Folder for the ledger and the practice network [default: chrysalis/practice in your data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// How many simulated customers ask
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(0..=1000))]
    pub(crate) customers: u32,
    /// Decides who asks what when
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args)]
pub(crate) struct HeadlessArguments {
    /// Folder for the ledger; made if it is not there, used by one chrysalis at a time
    #[arg(long, value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The network's root configuration (JSON), from its operator
    #[arg(long, value_name = "FILE")]
    pub(crate) network: PathBuf,
    /// Address of the network's root contract; needed where the network's file has no root_contract_address
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) root: Option<AddressText>,
    /// The GGUF file to serve
    #[arg(long, value_name = "FILE.gguf")]
    pub(crate) model: PathBuf,
    /// The name it is served under; HASH is the file's SHA-256 in hex
    #[arg(long, value_name = "NAME@COMMIT:HASH")]
    pub(crate) served_as: ModelName,
    /// The TON address that is paid, in the form in which the network's proxies write addresses: with the test network's mark or without
    /// [default: the payout address of this folder, see `chrysalis wallet payout-address`, else its wallet]
    #[arg(long, value_name = "ADDRESS", value_parser = ton_address)]
    pub(crate) owner: Option<AddressText>,
    /// Price coefficient in thousandths: 1000 is the network's price, 500 half of it
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(i32).range(0..1_000_000_000))]
    pub(crate) coefficient: i32,
    /// Most requests at once, over all proxies
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) max_active: u32,
    /// How many of the network's proxies to keep connected
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub(crate) proxy_connections: u32,
    /// Which proxies to trust: any, only those that show the reference implementation's test evidence, only those that run what the
    /// network lists, isolated by Intel TDX, or only those that prove a grade named with --proxy-grade when they are asked
    #[arg(long, value_enum, default_value_t = PolicyWord::Any)]
    pub(crate) policy: PolicyWord,
    /// For --policy tdx: Intel's signed statements about the proxy's kind of processor, as collateral services give them (JSON). They end
    /// after some weeks
    #[arg(long, value_name = "FILE")]
    pub(crate) collateral: Option<PathBuf>,
    /// For --policy asked: a grade that is enough, processor-isolated for instance; may be given several times. What runs inside must be on
    /// the network's list
    #[arg(long, value_name = "GRADE", value_parser = proxy_grade)]
    pub(crate) proxy_grade: Vec<Grade>,
    /// What proxies that ask are shown of this machine: what its TPM says, if `chrysalis identity enrol` was used, or, in a virtual machine
    /// that Intel TDX or AMD SEV-SNP isolates, its processor's report. The report does not speak of the graphics card
    #[arg(long, value_enum, default_value_t = ShowsWord::Tpm)]
    pub(crate) shows: ShowsWord,
    /// For --shows processor on Intel TDX: Intel's signed statements about this machine's own processor, as collateral services give them
    /// (JSON). They end after some weeks, and the file is read anew for each question
    #[arg(long, value_name = "FILE")]
    pub(crate) own_collateral: Option<PathBuf>,
    /// Where the TPM is that `chrysalis identity enrol` has used: a device, or the address of a simulator [default: /dev/tpmrm0]
    #[arg(long, value_name = "PLACE")]
    pub(crate) tpm: Option<String>,
    /// What this worker's certificate carries; `fake_tdx` is test evidence that proves nothing
    #[arg(long, value_enum, default_value_t = EvidenceWord::None)]
    pub(crate) evidence: EvidenceWord,
    /// Only on networks marked is_test: serve the file under a name that claims another hash
    #[arg(long)]
    pub(crate) test_claim: bool,
    /// Fetch what is signed by itself, as soon as a proxy owes this many TON; needs --chain and a wallet in --data that pays the fees, see `chrysalis wallet`
    #[arg(long, value_name = "TON", default_value = "5")]
    pub(crate) threshold: String,
    /// TON that stay in the wallet for fees
    #[arg(long, value_name = "TON", default_value = "0.5")]
    pub(crate) keep: String,
    #[command(flatten)]
    pub(crate) chain: ChainArguments,
    /// Serve statistics as JSON on this loopback address, at /jsonstats; port 0 for any free one
    #[arg(long, value_name = "127.0.0.1:PORT")]
    pub(crate) stats: Option<SocketAddr>,
    #[command(flatten)]
    pub(crate) device: DeviceArguments,
}

#[derive(Args, Clone)]
pub(crate) struct DeviceArguments {
    /// Where the model runs: cuda on an NVIDIA card through CUDA, wgpu on a graphics card (Vulkan, on Windows also DirectX 12), cpu on
    /// the processor, auto on the best graphics card there is, CUDA first, else on the processor (never on software that plays a card)
    #[arg(long, value_enum, default_value_t = BackendWord::Auto)]
    pub(crate) backend: BackendWord,
    /// The graphics card: a part of its name or its number, as `chrysalis-worker adapters` lists them
    #[arg(long, value_name = "NAME")]
    pub(crate) adapter: Option<String>,
    /// Try the graphics card out anew, as at its first start: its results are compared with the processor's, and the fastest way for it
    /// is measured and remembered
    #[arg(long)]
    pub(crate) retune: bool,
    /// Threads of the processor, at most as many as it has [default: 2]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) threads: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum PolicyWord {
    Any,
    FakeTdx,
    Tdx,
    Asked,
}

/// What proxies that ask are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum ShowsWord {
    Tpm,
    Processor,
}

/// What is written in 64 hexadecimal digits: a key, a hash, a nonce.
fn digits(text: &str) -> Result<[u8; 32], String> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text.trim(), &mut bytes).map_err(|_| "it has 64 hexadecimal digits".to_owned())?;
    Ok(bytes)
}

/// An account, in any of the forms in which TON writes them.
fn ton_address(text: &str) -> Result<AddressText, String> {
    AddressText::parse(text).map_err(|error| format!("that is no TON address: {error}"))
}

/// Where somebody is.
fn place(text: &str) -> Result<String, String> {
    if evidence::is_place(text) {
        return Ok(text.to_owned());
    }
    Err("it is HOST:PORT, as registrar.example:4420".to_owned())
}

/// A grade that a proxy can prove to a worker, which knows no registrar.
fn proxy_grade(name: &str) -> Result<Grade, String> {
    match Grade::from_name(name) {
        Some(Grade::KnownMachine | Grade::KnownMachineUncertified) => {
            Err("who is a known machine is said by registrars, and a worker believes none about proxies".to_owned())
        }
        Some(grade) => Ok(grade),
        None => Err(format!(
            "there is no such grade; there are {}, {} and {}",
            Grade::SelfClaim,
            Grade::ProcessorIsolated,
            Grade::HardwareIsolated
        )),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum EvidenceWord {
    None,
    FakeTdx,
}

impl From<EvidenceWord> for EvidenceKind {
    fn from(word: EvidenceWord) -> Self {
        match word {
            EvidenceWord::None => Self::None,
            EvidenceWord::FakeTdx => Self::FakeTdx,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub(crate) enum BackendWord {
    Auto,
    Cpu,
    Wgpu,
    Cuda,
}

impl HeadlessArguments {
    /// What cannot be done together.
    fn contradiction(&self) -> Option<String> {
        let text = match self.shows {
            ShowsWord::Tpm if self.own_collateral.is_some() => {
                "--own-collateral belongs to --shows processor; a TPM needs no statements of Intel's"
            }
            ShowsWord::Processor if self.tpm.is_some() => {
                "--tpm belongs to --shows tpm; the processor's report is made without one"
            }
            ShowsWord::Tpm | ShowsWord::Processor => return None,
        };
        Some(text.to_owned())
    }
}

impl DeviceArguments {
    /// What cannot be done together.
    fn contradiction(&self) -> Option<String> {
        let of_cards = [("--adapter", self.adapter.is_some()), ("--retune", self.retune)];
        let (word, _) = of_cards.into_iter().find(|(_, said)| *said && self.backend == BackendWord::Cpu)?;
        Some(format!("{word} is about graphics cards, and --backend cpu uses none; leave one of them out"))
    }

    /// A sentence where fewer threads will compute than were asked for.
    pub(crate) fn too_many_threads(&self) -> Option<String> {
        let most = std::thread::available_parallelism().ok()?.get();
        let wanted = self.threads?;
        (wanted as usize > most).then(|| format!("--threads {wanted} is more than this processor has; {most} compute"))
    }

    /// What the worker is told.
    pub(crate) fn backend(&self) -> BackendKind {
        match self.backend {
            // Who names a card wants that one or none.
            BackendWord::Auto if self.adapter.is_none() => BackendKind::Auto,
            BackendWord::Cpu => BackendKind::Cpu,
            BackendWord::Cuda => BackendKind::Cuda { adapter: self.adapter.clone() },
            BackendWord::Auto | BackendWord::Wgpu => BackendKind::Wgpu { adapter: self.adapter.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound_and_its_help_names_the_exit_codes() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for name in ["practice", "headless"] {
            let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
            assert!(help.contains("--data") && help.contains("Exit codes:"), "{help}");
        }
    }

    #[test]
    fn what_a_command_says_of_its_exit_codes_is_about_that_command() {
        let mut command = Cli::command();
        for name in ["detect", "doctor", "identity", "verify"] {
            let help = command.find_subcommand_mut(name).unwrap().render_help().to_string();
            assert!(help.contains("Exit codes:") && !help.contains("signed payments"), "{name}: {help}");
        }
    }

    #[test]
    fn the_words_of_readme_are_understood() {
        let words = format!(
            "x headless --data d --network n --model m --served-as a@b:c --owner 0:{} --coefficient 500 --max-active 3 \
             --policy fake_tdx --evidence fake_tdx --backend cpu --stats 127.0.0.1:0",
            "0".repeat(64)
        );
        let Some(Command::Headless(arguments)) = Cli::try_parse_from(words.split_whitespace()).ok().unwrap().command
        else {
            panic!("not headless");
        };
        assert_eq!((arguments.coefficient, arguments.max_active), (500, 3));
        assert_eq!((arguments.policy, arguments.evidence), (PolicyWord::FakeTdx, EvidenceWord::FakeTdx));
        let words = "x headless --data d --network n --model m --served-as a@b:c --policy asked --proxy-grade processor-isolated \
                     --shows processor --own-collateral c";
        let Some(Command::Headless(arguments)) = Cli::try_parse_from(words.split_whitespace()).ok().unwrap().command
        else {
            panic!("not headless");
        };
        assert_eq!((arguments.policy, arguments.proxy_grade), (PolicyWord::Asked, vec![Grade::ProcessorIsolated]));
        assert_eq!((arguments.shows, arguments.own_collateral), (ShowsWord::Processor, Some("c".into())));
        let words = "x practice --jobs 5 --json";
        let Some(Command::Practice(arguments)) = Cli::try_parse_from(words.split_whitespace()).ok().unwrap().command
        else {
            panic!("not practice");
        };
        assert_eq!((arguments.jobs, arguments.json), (Some(5), true));
        let cli = Cli::try_parse_from("x --hidden --start --customers 0".split_whitespace()).ok().unwrap();
        assert!(cli.command.is_none() && cli.app.hidden && cli.app.start && cli.app.customers == 0);
    }

    #[test]
    fn wrong_words_are_refused() {
        for words in [
            "x --nonsense",
            "x practice --jobs 0",
            "x headless --data d",
            "x practice --backend abacus",
            "x practice --threads 0",
            "x verify p --nonce 12",
            "x verify p --registrar abc",
            "x verify p --image abc",
            "x identity enrol --data d --registrar nohost --registrar-key 0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "x identity enrol --data d --registrar a:1 --registrar-key 0b",
            "x identity enrol --data d --registrar a:1 --registrar-key 0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b --proxy 1",
            "x headless --data d --network n --model m --served-as a@b:c --policy tdxx",
            "x headless --data d --network n --model m --served-as a@b:c --policy asked --proxy-grade processor",
            "x headless --data d --network n --model m --served-as a@b:c --policy asked --proxy-grade known-machine",
        ] {
            assert!(Cli::try_parse_from(words.split_whitespace()).is_err(), "{words}");
        }
    }

    #[test]
    fn words_that_would_change_nothing_are_refused_or_told() {
        let checked = |words: &str| Cli::try_parse_from(words.split_whitespace()).and_then(Cli::checked);
        for (words, named) in [
            ("x practice --backend cpu --adapter nosuch", "--adapter"),
            ("x practice --backend cpu --retune", "--retune"),
            ("x --backend cpu --retune", "--retune"),
        ] {
            let error = checked(words).map(drop).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(named), "{words}: {error}");
        }
        for words in ["x practice --backend cpu", "x --retune", "x practice --adapter 0", "x detect"] {
            assert!(checked(words).is_ok(), "{words}");
        }
        let threads =
            |wanted: u32| checked(&format!("x --threads {wanted}")).ok().unwrap().app.device.too_many_threads();
        assert_eq!(threads(1), None);
        assert!(threads(1_000_000).is_some_and(|said| said.contains("--threads 1000000 is more")));
    }
}
