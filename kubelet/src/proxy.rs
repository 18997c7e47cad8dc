//! Service rules: what a service address leads to, as nftables rules in one table.

pub mod nft;
