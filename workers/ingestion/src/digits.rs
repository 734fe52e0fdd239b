//! Writing numbers into ids, as `format!` does it, without its machinery: ids are written for every record.

/// Writes a number in decimal.
pub(crate) fn push_decimal(text: &mut String, number: i64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        // Less than ten.
        digits[at] = b'0' + u8::try_from(rest % 10).unwrap_or_default();
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        text.push('-');
    }
    text.push_str(std::str::from_utf8(&digits[at..]).unwrap_or_default());
}

/// Writes a number in small hexadecimal digits, at least so many.
pub(crate) fn push_hex(text: &mut String, number: u64, least: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let needed = (67 - number.leading_zeros() as usize) / 4;
    let mut digits = [0; 16];
    let count = needed.clamp(least, digits.len());
    for (place, digit) in digits[..count].iter_mut().enumerate() {
        *digit = DIGITS[(number >> ((count - 1 - place) * 4) & 0xF) as usize];
    }
    text.push_str(std::str::from_utf8(&digits[..count]).unwrap_or_default());
}

/// Bytes in small hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    bytes.iter().for_each(|byte| push_hex(&mut text, u64::from(*byte), 2));
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_format_does(decimal in any::<i64>(), hex in any::<u64>(), shift in 0_u32..64) {
            let mut text = String::new();
            push_decimal(&mut text, decimal >> shift);
            push_hex(&mut text, hex >> shift, 1);
            push_hex(&mut text, hex >> shift, 8);
            let hex = hex >> shift;
            prop_assert_eq!(text, format!("{}{hex:x}{hex:08x}", decimal >> shift));
        }

        #[test]
        fn bytes_are_written_as_format_does(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            prop_assert_eq!(hex(&bytes), bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
        }
    }
}
