//! A subnet's addresses, given out one by one.

use super::{AddressError, SubnetPlan};
use std::{collections::BTreeMap, net::IpAddr};

/// The addresses of one subnet, and who has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    network: String,
    plan: SubnetPlan,
    owners: BTreeMap<IpAddr, String>,
}

impl Pool {
    /// A pool with nothing given out. `network` is the key for messages.
    pub fn new(network: &str, plan: &SubnetPlan) -> Self {
        Self {
            network: network.to_owned(),
            plan: plan.clone(),
            owners: BTreeMap::new(),
        }
    }

    /// Gives a certain address to `owner`, for whom it may be reserved already. Call this for all fixed addresses of a
    /// project before the first [`Pool::allocate`].
    ///
    /// # Errors
    /// When it is outside the subnet, the gateway's, or somebody else's.
    pub fn claim(&mut self, address: IpAddr, owner: &str) -> Result<(), AddressError> {
        let subnet = self.plan.subnet;
        if !subnet.contains(address) {
            return Err(AddressError::Outside {
                network: self.network.clone(),
                what: "address",
                address,
                subnet,
            });
        }
        let taken = |owner: &str| AddressError::Taken {
            network: self.network.clone(),
            address,
            owner: owner.to_owned(),
        };
        if address == self.plan.gateway {
            return Err(taken("the gateway"));
        }
        if address == subnet.address() || (subnet.is_ipv4() && address == subnet.last()) {
            return Err(taken("the network itself"));
        }
        // `aux_addresses` are kept from `allocate`, not from whoever names them.
        match self.owners.get(&address) {
            Some(other) if other != owner => Err(taken(&format!("`{other}`"))),
            _ => {
                self.owners.insert(address, owner.to_owned());
                Ok(())
            }
        }
    }

    /// Gives the lowest free address to `owner`; the one it has already, if any.
    ///
    /// # Errors
    /// When none is left.
    pub fn allocate(&mut self, owner: &str) -> Result<IpAddr, AddressError> {
        if let Some((address, _)) = self.owners.iter().find(|(_, o)| *o == owner) {
            return Ok(*address);
        }
        let range = self.plan.range;
        let free = (0..range.size())
            .map_while(|offset| range.nth(offset))
            .find(|address| !self.plan.reserved.contains(address) && !self.owners.contains_key(address));
        let address = free.ok_or_else(|| AddressError::Exhausted {
            network: self.network.clone(),
            range,
            size: range.size(),
        })?;
        self.owners.insert(address, owner.to_owned());
        Ok(address)
    }

    /// Takes back what `owner` has.
    pub fn release(&mut self, owner: &str) {
        self.owners.retain(|_, o| o != owner);
    }

    /// The plan it gives out from.
    pub fn plan(&self) -> &SubnetPlan {
        &self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{plan, pool, with},
        *,
    };
    use crate::model::IpamPool;

    fn small_pool(prefix: u8) -> Pool {
        let aux = BTreeMap::from([("printer".to_owned(), "10.9.0.3".parse().unwrap())]);
        let wanted = IpamPool {
            aux_addresses: aux,
            ..pool(&format!("10.9.0.0/{prefix}"))
        };
        let plans = plan(&[("n", with(vec![wanted]))], &[]).unwrap();
        Pool::new("n", plans["n"].v4.as_ref().unwrap())
    }

    #[test]
    fn addresses_are_the_lowest_free_ones_and_come_back() {
        let mut pool = small_pool(29);
        let mut next = |owner: &str| pool.allocate(owner).unwrap().to_string();
        assert_eq!(next("a"), "10.9.0.2");
        assert_eq!(next("b"), "10.9.0.4");
        assert_eq!(next("a"), "10.9.0.2", "an owner keeps its address");
        assert_eq!(next("c"), "10.9.0.5");
        assert_eq!(next("d"), "10.9.0.6");
        assert_eq!(
            pool.allocate("e").unwrap_err().to_string(),
            "network `n`: all 8 addresses of `10.9.0.0/29` are in use"
        );
        pool.release("b");
        assert_eq!(pool.allocate("e").unwrap().to_string(), "10.9.0.4");
    }

    #[test]
    fn ten_thousand_allocations_leak_nothing() {
        let mut pool = small_pool(28);
        for round in 0..10_000 {
            let owner = format!("c{round}");
            pool.allocate(&owner).unwrap();
            pool.release(&owner);
        }
        assert_eq!(pool, small_pool(28));
    }

    #[test]
    fn fixed_addresses_are_checked() {
        let mut pool = small_pool(28);
        let mut claim = |address: &str, owner: &str| {
            pool.claim(address.parse().unwrap(), owner)
                .map_err(|e| e.to_string())
                .err()
                .unwrap_or_default()
        };
        assert_eq!(claim("10.9.0.2", "a"), "");
        assert_eq!(claim("10.9.0.2", "a"), "");
        assert_eq!(
            claim("10.9.0.2", "b"),
            "network `n`: the address `10.9.0.2` is taken by `a`"
        );
        assert_eq!(
            claim("10.9.0.1", "b"),
            "network `n`: the address `10.9.0.1` is taken by the gateway"
        );
        assert_eq!(
            claim("10.9.0.15", "b"),
            "network `n`: the address `10.9.0.15` is taken by the network itself"
        );
        assert_eq!(
            claim("10.9.1.2", "b"),
            "network `n`: the address `10.9.1.2` is not in the subnet `10.9.0.0/28`"
        );
        assert_eq!(
            pool.allocate("b").unwrap().to_string(),
            "10.9.0.4",
            "neither a's nor the reserved one"
        );
    }
}
