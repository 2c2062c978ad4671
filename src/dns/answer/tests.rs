use super::{super::zone::*, *};
use hickory_proto::op::Message;

fn zones() -> Zones {
    let zones = Zones::new();
    zones.update(|r| {
        let network = |name: &str, subnet: &str, internal| Network {
            name: name.into(),
            subnets: vec![subnet.parse().unwrap()],
            internal,
        };
        r.set_network("a", network("p_a", "10.1.0.0/16", false));
        r.set_network("b", network("p_b", "10.2.0.0/16", true));
        let endpoint = |container: &str, network: &str, addresses: &[&str], name: &str| Endpoint {
            container: container.into(),
            network: network.into(),
            addresses: addresses.iter().map(|a| a.parse().unwrap()).collect(),
            names: vec![name.into()],
        };
        r.add(endpoint("me", "a", &["10.1.0.2"], "me"));
        for n in 1..=200 {
            r.add(endpoint(
                &format!("many{n}"),
                "a",
                &[&format!("10.1.1.{n}")],
                "many",
            ));
        }
        r.add(endpoint("dual", "a", &["10.1.0.3", "fd00::3"], "dual"));
        r.add(endpoint("inner", "b", &["10.2.0.2"], "inner"));
    });
    zones
}

/// A query message: identifier 7, recursion desired, EDNS with `size` if given.
fn ask(name: &str, kind: u16, size: Option<u16>) -> Vec<u8> {
    let mut message = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(size.is_some())];
    for label in name.split('.').filter(|l| !l.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend(label.as_bytes());
    }
    message.push(0);
    message.extend(kind.to_be_bytes());
    message.extend([0, 1]);
    if let Some(size) = size {
        message.extend([0, 0, 41]);
        message.extend(size.to_be_bytes());
        message.extend([0; 6]);
    }
    message
}

/// The decision as text: `code: answers`, `forward` or `silence`; answers are read by hickory-proto, not by us.
fn outcome(source: &str, transport: Transport, message: &[u8], turn: usize) -> (String, Vec<u8>) {
    let mut out = Vec::new();
    let index = zones().index();
    let text = match decide(
        &index,
        source.parse().unwrap(),
        transport,
        message,
        || turn,
        &mut out,
    ) {
        Decision::Silence => "silence".into(),
        Decision::Forward(query) => format!("forward {}", query.question.text().unwrap()),
        Decision::Reply => {
            let reply = Message::from_vec(&out).expect("our answers can be read");
            assert_eq!(reply.metadata.id, 7);
            let answers: Vec<_> = reply.answers.iter().map(|r| r.data.to_string()).collect();
            assert!(
                reply.answers.iter().all(|r| r.ttl <= 1),
                "answers must not be kept"
            );
            let cut = if reply.metadata.truncation {
                " truncated"
            } else {
                ""
            };
            format!("{:?}{cut}: {}", reply.metadata.response_code, answers.join(" "))
        }
    };
    (text, out)
}

fn check(source: &str, name: &str, kind: u16, expected: &str) {
    let (text, _) = outcome(source, Transport::Udp, &ask(name, kind, None), 0);
    assert_eq!(text, expected, "{source} asks for {name} {kind}");
}

const MX: u16 = 15;

#[test]
fn questions_get_what_the_view_allows() {
    check("10.1.0.2", "dual", kind::A, "NoError: 10.1.0.3");
    check("10.1.0.2", "DuAl", kind::AAAA, "NoError: fd00::3");
    check("10.1.0.2", "dual.p_a", kind::ANY, "NoError: 10.1.0.3 fd00::3");
    check("10.1.0.2", "me", kind::AAAA, "NoError: ");
    check("10.1.0.2", "me", MX, "NoError: ");
    check("10.1.0.2", "inner", kind::A, "NXDomain: ");
    check("10.1.0.2", "example.com", kind::A, "forward example.com.");
    check("10.2.0.2", "example.com", kind::A, "NXDomain: ");
    check("10.2.0.2", "inner", kind::A, "NoError: 10.2.0.2");
    check("192.0.2.1", "me", kind::A, "Refused: ");
}

#[test]
fn reverse_questions_about_our_addresses_stay_here() {
    check(
        "10.1.0.2",
        "3.0.1.10.in-addr.arpa",
        kind::PTR,
        "NoError: dual.p_a.",
    );
    check("10.1.0.2", "2.0.2.10.in-addr.arpa", kind::PTR, "NXDomain: ");
    check("10.1.0.2", "9.9.1.10.in-addr.arpa", kind::PTR, "NXDomain: ");
    check(
        "10.1.0.2",
        "8.8.8.8.in-addr.arpa",
        kind::PTR,
        "forward 8.8.8.8.in-addr.arpa.",
    );
    check("10.2.0.2", "8.8.8.8.in-addr.arpa", kind::PTR, "NXDomain: ");
}

#[test]
fn replicas_take_turns_and_sizes_are_respected() {
    let first = |turn| outcome("10.1.0.2", Transport::Tcp, &ask("many", kind::A, None), turn).0;
    assert!(first(0).starts_with("NoError: 10.1.1.1 10.1.1.2 "));
    assert!(first(1).starts_with("NoError: 10.1.1.2 10.1.1.3 "));
    assert!(first(199).starts_with("NoError: 10.1.1.200 10.1.1.1 "));
    assert_eq!(first(3).split(' ').count(), 201);
    for (size, expected) in [
        (None, 512),
        (Some(100), 512),
        (Some(1232), 1232),
        (Some(65535), 4096),
    ] {
        let (text, bytes) = outcome("10.1.0.2", Transport::Udp, &ask("many", kind::A, size), 0);
        assert!(bytes.len() <= expected, "{size:?} gave {} bytes", bytes.len());
        assert_eq!(text.contains("truncated"), expected < 3200, "{size:?}");
        assert!(bytes.len() + 16 > expected.min(3200), "{size:?}: as many as fit");
    }
}

#[test]
fn letters_come_back_as_they_were_typed() {
    let message = ask("DuAl", kind::A, None);
    let (_, answer) = outcome("10.1.0.2", Transport::Udp, &message, 0);
    assert_eq!(answer[12..message.len()], message[12..]);
}

#[test]
fn what_is_no_question_is_refused_or_ignored() {
    let good = ask("me", kind::A, None);
    let change = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        outcome("10.1.0.2", Transport::Udp, &message, 0).0
    };
    assert_eq!(change(2, 0x81), "silence", "answers are not answered");
    assert_eq!(change(2, 0x29), "NotImp: ");
    assert_eq!(change(5, 2), "FormErr: ");
    assert_eq!(change(7, 1), "FormErr: ");
    assert_eq!(change(11, 1), "FormErr: ");
    assert_eq!(change(12, 0xc0), "FormErr: ", "a name that points at itself");
    assert_eq!(change(good.len() - 1, 3), "FormErr: ", "a class other than IN");
    let mut version = ask("me", kind::A, Some(1232));
    let at = version.len() - 5;
    version[at] = 1;
    let (_, bytes) = outcome("10.1.0.2", Transport::Udp, &version, 0);
    assert_eq!(
        u16::from(Message::from_vec(&bytes).unwrap().metadata.response_code),
        16,
        "BADVERS"
    );
}

#[test]
fn no_bytes_whatsoever_make_it_panic() {
    let index = zones().index();
    let mut out = Vec::new();
    let whole = ask("me.p_a", kind::A, Some(4096));
    for end in 0..whole.len() {
        decide(
            &index,
            "10.1.0.2".parse().unwrap(),
            Transport::Udp,
            &whole[..end],
            || 0,
            &mut out,
        );
    }
    // A fixed sequence (xorshift), so that a failure can be seen again.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200_000 {
        let mut message = whole.clone();
        for _ in 0..4 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let [at, value, ..] = state.to_le_bytes();
            let at = usize::from(at) % message.len();
            message[at] = value;
        }
        decide(
            &index,
            "10.1.0.2".parse().unwrap(),
            Transport::Udp,
            &message,
            || 0,
            &mut out,
        );
    }
}
