//! Exchanges and services that take all customers' coins at one address and tell them apart by the comment. Facts, as the public list of
//! accounts of the TON community (ton-assets, `require_memo`) has them; a list like this is never whole.

/// Names, and the letters of each address that all its forms have in common: without the two in front and those of the checksum.
pub(crate) const EXCHANGES: &[(&str, &[&str])] = &[
    ("Binance", &["D5mxRgCuRNLxKxeOjG6r14iSroLF5FtomPnet-sgP5x"]),
    ("Bitfinex", &["BqWnahU4z5WWWQ7DcIRwZJw0JiS_kuY6anoVJU7e2pB"]),
    (
        "Bitget",
        &[
            "DN9_DXwJA28GQnLjxCntVwvknvKes6c1tku8F5FQc3M",
            "DpwKJP-qaqTyKIkOca6VUL_FOmxX5kO8McJA4YcnrBz",
            "AzZQL6-D71tTLTFbpxRQtmHJDoP85k2Lwf0r9kLzVV2",
            "CzCMf5tPWW9iUBdYhZclSYcbBccO02Gf1ak5QB7qly5",
            "Di0d8gazctsfO4kOYNGFtnqgyfG2tv9goFCRyMAbQKx",
            "B6DclNqfSLlo37h7441Pq3KGKI23oE0wgf7uF3N22Qi",
            "CHhe9euw_STGkR0Q9DwAlh6XSPpUKXoaxRfjxf52uwv",
            "AhO2gEwgghNaSoA9qOOzDP7VGu6a8q0hADNLf0cR07z",
        ],
    ),
    ("BitMart", &["Ci-sp63-vVxZcBCNH3kGXO8ysMFD-xNIkGa2hM3X7pX"]),
    (
        "Bybit",
        &[
            "DD8dqOzaj4zUK6ziJOo_G2lx6qf1TEktTRkFJ7T1c_f",
            "BKHz68xmvc76kCRb31QaUK2hxoikh1NLFYer_9kwOIN",
            "DNUlwVkE17QCfq4IsxhiQmDzcc6Mn0_MoM23tYOFQQf",
            "CuYqGS2pbiZhYacCzJ9t6RwMNEHxfOulG8RC37IDGjC",
            "DjzgXE2pdxMsJKOxAtqLX78uqRczN7Sd40bkpLBX91e",
            "DjPvhdF060V8By0e4QIVtpq5tkGS90ITAqscjia3rUv",
            "B_l_Nt2j997cnhL4wJxPief7wXUnqz9n3kw7FVKXpW5",
        ],
    ),
    ("Coinone", &["AYgkeNrvG37SAMu9wgG9TtCyTC5fGkx8Fa6347GnWRk"]),
    ("CoinEx", &["A0KjWeODV8CDloEp_d3fBJ71xHMVv77ydQWjVr-fAtZ"]),
    ("Crypto.com", &["BAL11PT4vqewvVEbnTdxg0waIru7yKMmA16weqJPXJ-"]),
    ("Crypto Bot", &["Ctiv7PrMJImWiF2L5oJCgPnzp-VML2CAt5cbn1VsKAx"]),
    ("EXMO", &["B5lISMH8vLxXpqWph7ZutCS4tU4QdZtrUUpmtgDCsO7", "ABMMdzRuntgt9nfRB61qd1wR-cGPagXA3ReQazVYUNr"]),
    ("FixedFloat", &["DftQdPITnb-x8-gj3f15dtpQbn94F1yYxiftLoQPeGB"]),
    ("Gate", &["C0lrj3O0af8GotieYsTXChA_wijIIVN7Sd_wkgYLwoH"]),
    ("HTX", &["BVXzBT4lcTA3S7gxrg4hnl5fnsDKj4oNEzNp09aQxkw", "CFr3jo0DXpIBF82mVGFc3zcdRkSAtinhENPFMQ2FqzY"]),
    ("KuCoin", &["CA1BI4QRZ8qYmskSRDzJmkucGodYRTZCf_b9hckjla6"]),
    ("LBank", &["ChSx9FI4Wyu5hK0sREHh0jyuBx_fwJbfulPrujtv8dE"]),
    (
        "MEXC",
        &[
            "BX63RAdgShn34EAFMV73Cut7Z15lUZd1hnVva68SEl7",
            "Ace9aQ9Pk96Lk9tXkBKdq2WSbG4fybVzgAidtVKVFmM",
            "DYh9Di0cT8QSbnHJcNM6sYlpQAAOrnA7sats7Mgwd34",
        ],
    ),
    (
        "OKX",
        &[
            "BfAN7LfaUYgXZNw5Wc7GBgkEX2yhuJ5ka95J1JJwXXf",
            "DxXbLGLNhq_whg05xJH8c6MTlfr-tZReZESYViJgx4L",
            "Dn6G2gh0LtkzQ0_-uPCKY8fhAO6ELiX1manL8IkVdKb",
            "ADON7zS4TG7pE0oEqxYBRQvkRjQKN64lneV8s3vbWQz",
            "CjCknscl6fVyRLZq9MLaerdgBLT86A06NLHNDDd2Krz",
            "Ak2h57jakB5bPdD5jDl_625aXqSDGVqLa9BoLPLFMnr",
            "B_LoTHI9i2trGqz4EMjCarI8IgIrRkuHEEstMGWw6nC",
            "CFTsRSHv1SrUO88ZiOTETr35omrRj6Uav9toX8OzSKX",
            "D5vcDeRhwaLgAvralVC7sJXI-fc2aNcMUXqcx-BQ-OW",
        ],
    ),
    ("Paribu", &["Dz9O0JE6tVXQI3RQWPGmxVpJ1Idlk8ub2rH3gKmbGFv"]),
    (
        "Wallet in Telegram",
        &[
            "Dd3NPNrWCvTA1pOJ9WetUdDCY_pJaNZVq0JMaara-TI",
            "BDanbCeUqI4_v-xrnAN0_I2wRvEIaLg1Qg2ZN5c6Zl1",
            "BugU5kUOjFeAZ7tlYpj7TQE5fdFQGNfzTcNp6rpMIRH",
            "CXrZNESRUInoEiOP8Qq-kGbQsD6j26KoYw-5yfiKpFX",
            "AfWAbHPQO7yW637r8WBn8fLo4nDPoW1XABqp6vdFbwC",
            "AbROxVNhaw5FUQNwOINL3wvaofBEDhDzMx2YQVhWEqa",
            "DPBslO_a4m-qodhQkvxNrueOugnmnDbawFHB2P_eNfQ",
            "CRiHBZulagN5CwaW16QCrAaR3_YvzTmOgT-X07Jzb6W",
        ],
    ),
    ("xRocket", &["ABGo8KCza3ea8DNHMnSWZmbRzW-05332eTdfvW-XDQE"]),
];
