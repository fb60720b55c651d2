//! Memory for what is computed of prompts: what is given back is wiped first.

use zeroize::Zeroize;

/// Makes a list so long, of anything: whoever wants it so fills it. Memory that is too small is wiped before it is given back.
pub(super) fn room<T: Zeroize + Clone + Default>(list: &mut Vec<T>, length: usize) {
    if list.capacity() < length {
        list.zeroize();
        list.reserve_exact(length);
    }
    list.resize(length, T::default());
}
