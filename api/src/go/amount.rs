//! The fields of a `resource.Quantity` after `ParseQuantity` has read a canonical text: a whole number with a scale where
//! that fits, else an `inf.Dec` of the nano.

use crate::quantity::{self, Format};

/// Decimal digits behind the point that a quantity keeps.
const NANO_DIGITS: i32 = 9;
/// The largest amount with a binary suffix.
const BINARY_MAX: u64 = i64::MAX as u64;

/// The fields, printed; those of nothing for a text that is no quantity.
pub(super) fn shown(text: &str) -> String {
    let Some(parsed) = quantity::parsed(text) else {
        return fields(0, 0, None, "", "");
    };
    let format = match parsed.format {
        Format::DecimalExponent => "DecimalExponent",
        Format::BinarySI => "BinarySI",
        Format::DecimalSI => "DecimalSI",
    };
    if text == "0" {
        return fields(0, 0, None, text, format);
    }
    let kept = if parsed.keeps_text { text } else { "" };
    match parsed.quick {
        Some((value, scale)) => fields(value, scale, None, kept, format),
        None => fields(0, 0, Some(large(&parsed)), kept, format),
    }
}

fn fields(value: i64, scale: i32, dec: Option<String>, text: &str, format: &str) -> String {
    let dec = dec.unwrap_or_else(|| "<nil>".into());
    format!(
        "i:(resource.int64Amount){{value:(int64){value} scale:(resource.Scale){scale}}} \
         d:(resource.infDecAmount){{Dec:(*inf.Dec){dec}}} s:(string){text} Format:(resource.Format){format}"
    )
}

/// An `inf.Dec`, printed.
fn large(parsed: &quantity::Parsed) -> String {
    let (exponent, shift) = match parsed.format {
        Format::BinarySI => (0, parsed.exponent),
        _ => (parsed.exponent, 0),
    };
    let mut number = Natural::default();
    parsed.digits.bytes().for_each(|digit| number.multiply_add(10, u64::from(digit - b'0')));
    (0..shift).for_each(|_| number.multiply_add(2, 0));
    let mut scale = parsed.fraction - exponent;
    for _ in scale..NANO_DIGITS {
        number.multiply_add(10, 0);
    }
    scale = scale.max(NANO_DIGITS);
    if parsed.format == Format::BinarySI && number.is_more_than_nano_of(BINARY_MAX) {
        (number, scale) = (Natural(vec![BINARY_MAX]), 0);
    }
    let words: Vec<_> = number.0.iter().map(u64::to_string).collect();
    let (negative, words) = (parsed.negative, words.join(" "));
    format!("{{unscaled:(big.Int){{neg:(bool){negative} abs:(big.nat)[{words}]}} scale:(inf.Scale){scale}}}")
}

/// A natural number in words of 64 bits, the smallest first, as `big.nat` has it.
#[derive(Default, PartialEq, Eq)]
struct Natural(Vec<u64>);

impl Natural {
    fn multiply_add(&mut self, by: u64, add: u64) {
        let mut carry = u128::from(add);
        for word in &mut self.0 {
            let product = u128::from(*word) * u128::from(by) + carry;
            *word = product as u64;
            carry = product >> 64;
        }
        if carry > 0 {
            self.0.push(carry as u64);
        }
    }

    fn is_more_than_nano_of(&self, limit: u64) -> bool {
        let mut most = Self(vec![limit]);
        (0..NANO_DIGITS).for_each(|_| most.multiply_add(10, 0));
        let by_size = self.0.len().cmp(&most.0.len());
        by_size.then_with(|| self.0.iter().rev().cmp(most.0.iter().rev())).is_gt()
    }
}
