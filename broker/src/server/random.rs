//! Where does chance come from?

use client::wire::kafka::Uuid;

/// Sixteen bytes that nobody else draws.
pub fn uuid() -> Uuid {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    // As Java's random ids: version 4, variant 1.
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let id = Uuid(bytes);
    // Kafka reads ids on command lines; one that begins like a flag is a nuisance.
    if id.to_string().starts_with('-') { uuid() } else { id }
}

/// The same, as Java writes it.
pub fn uuid_text() -> String {
    let Uuid(bytes) = uuid();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A number to begin somewhere with.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

fn fill(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            // A kernel without it cannot run this program at all.
            Err(error) => panic!("the system has no random numbers: {error}"),
        }
    }
}
