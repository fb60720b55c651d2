//! Program `chrysalis-network`. Everything is in the library; see [`network::cli`].

fn main() -> std::process::ExitCode {
    network::cli::main()
}
