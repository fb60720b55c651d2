//! An open network: a proxy and a gateway as programs of their own, with the configuration of the genuine ones.

use crate::commands::{network_json, proxy_config};
use serde_json::json;
use std::path::PathBuf;
use system_tests::program::Running;
use system_tests::{OWNER, ROOT, free_port, port};

/// Its ports and files. Nothing runs until it is started.
pub(crate) struct OpenNetwork {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) network_file: PathBuf,
    workers: u16,
    clients: u16,
    pub(crate) web: u16,
}

impl OpenNetwork {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (workers, clients, web) = (free_port(), free_port(), free_port());
        let network_file = folder.path().join("network.json");
        std::fs::write(&network_file, network_json(workers, clients)).unwrap();
        let clients_port = format!(r#""client_rpc_port":"{clients}""#);
        let config = proxy_config(workers).replace(r#""client_rpc_port":"0""#, &clients_port);
        std::fs::write(folder.path().join("proxy.json"), config).unwrap();
        std::fs::write(
            folder.path().join("client.json"),
            json!({"is_test": true, "is_testnet": false, "http_port": web, "proxy_connections": 1,
                   "owner_address": OWNER, "root_contract_address": ROOT,
                   "node_wallet_key": "gaEatwGNgLGOeFI/TRGfPdJG/K4G8picYHQkDHpLQ9w="})
            .to_string(),
        )
        .unwrap();
        Self { folder, network_file, workers, clients, web }
    }

    pub(crate) fn start_proxy(&self, more: &[&str]) -> Running {
        let mut proxy = self.start("proxy", "proxy.json", &[&["--pow-difficulty", "8"], more].concat());
        let ready = proxy.ready();
        assert_eq!((port(&ready, "workers_port"), port(&ready, "clients_port")), (self.workers, self.clients));
        proxy
    }

    pub(crate) fn start_gateway(&self, more: &[&str]) -> Running {
        let mut gateway = self.start("gateway", "client.json", more);
        assert_eq!(port(&gateway.ready(), "http_port"), self.web);
        gateway
    }

    fn start(&self, role: &str, config: &str, more: &[&str]) -> Running {
        let config = self.folder.path().join(config);
        let data = self.folder.path().join(role);
        let words = [
            role,
            "--config",
            config.to_str().unwrap(),
            "--network",
            self.network_file.to_str().unwrap(),
            "--data",
            data.to_str().unwrap(),
        ];
        Running::start("chrysalis-network", &[&words[..], more].concat())
    }
}
