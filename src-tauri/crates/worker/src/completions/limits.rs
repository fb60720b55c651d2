//! What a body may cost, judged on its bytes before a parser allocates anything for it.

use super::Refusal;

/// Longest request body in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

/// Deepest nesting of arrays and objects.
///
/// Schemas are what nests: each level of an object in one takes two here.
pub const MAX_DEPTH: u32 = 32;

/// Most objects in one body. A parsed object costs hundreds of bytes where `{"":0}` costs six.
pub const MAX_OBJECTS: u32 = 16 * 1024;

/// `Err` when the body is over a limit. Says nothing about whether it is JSON.
pub(super) fn check(body: &[u8]) -> Result<(), Refusal> {
    if body.len() > MAX_BODY {
        return Err(Refusal::too_large(format!("the request body has {} bytes, {MAX_BODY} are allowed", body.len())));
    }
    let mut depth = 0u32;
    let mut objects = 0u32;
    let mut bytes = body.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b'{' | b'[' => {
                depth += 1;
                objects += u32::from(*byte == b'{');
                if depth > MAX_DEPTH {
                    return Err(Refusal::bad_request(
                        format!("the request is nested deeper than {MAX_DEPTH} levels"),
                        None,
                    ));
                }
                if objects > MAX_OBJECTS {
                    return Err(Refusal::too_large(format!("the request has more than {MAX_OBJECTS} objects")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(())
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
}
