//! The floor's network: one interface on a bridge, with an address and a default route, in as few calls as the kernel
//! takes. One netlink message makes the pair (rtnetlink(7), veth's `VETH_INFO_PEER`); netdevice(7) does the rest.

use banyan_runtime::network::{Bridge, Endpoint, Hall, LinkName, MacAddress, Reach, Subnet};
use std::{
    net::{IpAddr, Ipv4Addr},
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
};

const BRIDGE: &str = "br0";
/// linux/veth.h.
const VETH_INFO_PEER: u16 = 1;
/// linux/if_link.h.
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

/// A hall with one bridge, and a netlink socket in it.
pub(crate) struct Net {
    pub(crate) hall: Hall,
    route: OwnedFd,
    bridge: u32,
}

/// What the child does in its own namespace when the pair is there. Made before it is cloned: it makes system calls only.
pub(crate) struct Inside {
    lo: libc::ifreq,
    address: libc::ifreq,
    mask: libc::ifreq,
    up: libc::ifreq,
    route: libc::rtentry,
}

fn address_of(round: usize) -> Ipv4Addr {
    let number = u8::try_from(round % 250).unwrap();
    Ipv4Addr::new(10, 77, u8::try_from(round / 250 % 250).unwrap(), number + 2)
}

impl Net {
    pub(crate) fn new() -> Self {
        let hall = Hall::create().unwrap();
        let gateway = Subnet::new(Ipv4Addr::new(10, 77, 255, 1).into(), 16).unwrap();
        hall.add_bridge(&Bridge {
            name: LinkName::new(BRIDGE).unwrap(),
            gateways: vec![gateway],
            mtu: 1500,
            reach: Reach::Internal,
        })
        .unwrap();
        let (route, bridge) = hall
            .run(|| {
                // SAFETY: plain numbers; a failure is asserted.
                let fd = unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
                assert!(fd >= 0);
                // SAFETY: a NUL-terminated text.
                let index = unsafe { libc::if_nametoindex(c"br0".as_ptr()) };
                // SAFETY: a new descriptor that nobody else owns.
                (unsafe { OwnedFd::from_raw_fd(fd) }, index)
            })
            .unwrap();
        Self { hall, route, bridge }
    }

    /// The same for [`Hall::connect`].
    pub(crate) fn endpoint(round: usize) -> Endpoint {
        let address = IpAddr::V4(address_of(round));
        Endpoint {
            bridge: LinkName::new(BRIDGE).unwrap(),
            interface: LinkName::new("eth0").unwrap(),
            mac: MacAddress::for_ip(address),
            addresses: vec![Subnet::new(address, 16).unwrap()],
            gateways: vec![Ipv4Addr::new(10, 77, 255, 1).into()],
            mtu: 1500,
        }
    }

    /// Makes the pair: one end on the bridge and up, the other in the namespace of `pid`.
    pub(crate) fn give(&self, pid: i32, round: usize) {
        let near = attribute(libc::IFLA_IFNAME, format!("f{round}\0").as_bytes());
        let master = attribute(libc::IFLA_MASTER, &self.bridge.to_ne_bytes());
        let mut peer = link_header(0);
        peer.extend(attribute(libc::IFLA_IFNAME, b"eth0\0"));
        peer.extend(attribute(libc::IFLA_NET_NS_PID, &pid.to_ne_bytes()));
        let data = attribute(IFLA_INFO_DATA, &attribute(VETH_INFO_PEER, &peer));
        let kind = attribute(IFLA_INFO_KIND, b"veth");
        let info = attribute(libc::IFLA_LINKINFO, &[kind, data].concat());
        let up = u32::try_from(libc::IFF_UP).unwrap();
        let body = [link_header(up), near, master, info].concat();
        let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
        let length = u32::try_from(body.len() + 16).unwrap();
        let mut message = length.to_ne_bytes().to_vec();
        message.extend(libc::RTM_NEWLINK.to_ne_bytes());
        message.extend(u16::try_from(flags).unwrap().to_ne_bytes());
        message.extend([0; 8]);
        message.extend(body);
        let mut answer = [0_u8; 4096];
        // SAFETY: the buffer outlives the call.
        let sent = unsafe { libc::send(self.route.as_raw_fd(), message.as_ptr().cast(), message.len(), 0) };
        assert_eq!(sent, isize::try_from(message.len()).unwrap());
        // SAFETY: the buffer outlives the call.
        let got = unsafe {
            libc::recv(
                self.route.as_raw_fd(),
                answer.as_mut_ptr().cast(),
                answer.len(),
                0,
            )
        };
        assert!(got >= 20);
        let error = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
        assert_eq!(error, 0, "the kernel made no veth pair");
    }
}

impl Inside {
    pub(crate) fn new(round: usize) -> Self {
        let mut up = request(c"eth0");
        let mut lo = request(c"lo");
        let flags = libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap();
        up.ifr_ifru.ifru_flags = flags;
        lo.ifr_ifru.ifru_flags = flags;
        let (mut address, mut mask) = (request(c"eth0"), request(c"eth0"));
        address.ifr_ifru.ifru_addr = socket_address(address_of(round));
        mask.ifr_ifru.ifru_addr = socket_address(Ipv4Addr::new(255, 255, 0, 0));
        // SAFETY: integers, addresses and pointers, for which all zeroes is a valid value.
        let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
        route.rt_dst = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_genmask = socket_address(Ipv4Addr::UNSPECIFIED);
        route.rt_gateway = socket_address(Ipv4Addr::new(10, 77, 255, 1));
        route.rt_flags = libc::RTF_UP | libc::RTF_GATEWAY;
        Self {
            lo,
            address,
            mask,
            up,
            route,
        }
    }

    /// Carries it out; makes system calls only.
    pub(crate) fn done(&self) -> bool {
        // SAFETY: plain numbers.
        let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
        let tell = |what: libc::Ioctl, request: &libc::ifreq| {
            // SAFETY: the structure outlives the call and is what this request reads.
            unsafe { libc::ioctl(fd, what, std::ptr::from_ref(request)) == 0 }
        };
        let configured = tell(libc::SIOCSIFFLAGS, &self.lo)
            && tell(libc::SIOCSIFADDR, &self.address)
            && tell(libc::SIOCSIFNETMASK, &self.mask)
            && tell(libc::SIOCSIFFLAGS, &self.up);
        // SAFETY: the structure outlives the call and is what this request reads.
        configured && unsafe { libc::ioctl(fd, libc::SIOCADDRT, &raw const self.route) == 0 }
    }
}

fn request(name: &std::ffi::CStr) -> libc::ifreq {
    // SAFETY: integers and addresses, for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    request
}

fn socket_address(address: Ipv4Addr) -> libc::sockaddr {
    let mut data = [0; 14];
    for (to, from) in data[2..].iter_mut().zip(address.octets()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    libc::sockaddr {
        sa_family: libc::sa_family_t::try_from(libc::AF_INET).unwrap(),
        sa_data: data,
    }
}

/// `struct ifinfomsg`.
fn link_header(flags: u32) -> Vec<u8> {
    let mut header = vec![0; 8];
    header.extend(flags.to_ne_bytes());
    header.extend(flags.to_ne_bytes());
    header
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}
