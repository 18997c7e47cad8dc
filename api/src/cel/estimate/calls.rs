//! What calls cost, and how large what they give is.

use cel::common::ast::{Expr, LiteralValue};

use super::{CREATE_LIST, Estimator, Part, Range, is_lazy, step};
use crate::cel::counted::AUTHORIZE;
use crate::cel::types::Type;

/// To go through a text or bytes costs this much a character.
const TRAVERSE: f64 = 0.1;
/// A regular expression costs this much a character.
const REGEX: f64 = 0.25;
/// How long the regular expression of a named format may be.
const FORMAT_REGEX: f64 = 128.0;
/// The bytes of an address.
const ADDRESS: Range = Range { min: 4, max: 16 };

/// One overload of a call.
pub(super) struct Call<'c, 'a> {
    pub(super) id: u64,
    pub(super) name: &'c str,
    pub(super) overload: &'c str,
    pub(super) target: Option<&'c Part<'a>>,
    pub(super) arguments: &'c [Part<'a>],
}

/// What a call costs beside its arguments, and the size of its result if that is known.
type Estimate = (Range, Option<Range>);

const ONE: Range = Range::fixed(1);

fn only(cost: Range) -> Option<Estimate> {
    Some((cost, None))
}

impl Estimator<'_> {
    pub(super) fn of_call(&mut self, call: &Call<'_, '_>, costs: &[Range]) -> Estimate {
        let sum = costs.iter().fold(Range::default(), |sum, cost| sum.add(*cost));
        let known = of_extension(call).or_else(|| self.of_kubernetes(call));
        if let Some((cost, size)) = known {
            return (cost.add(sum), size);
        }
        if is_lazy(call.name) {
            return self.lazy(call, costs);
        }
        let (cost, size) = self.of_standard(call).unwrap_or((ONE, None));
        (cost.add(sum), size)
    }

    fn lazy(&mut self, call: &Call<'_, '_>, costs: &[Range]) -> Estimate {
        match (call.arguments, costs) {
            ([_, yes, no], [condition, of_yes, of_no]) => {
                if let (Some(one), Some(other)) = (self.entry(yes.expr), self.entry(no.expr)) {
                    self.entries.insert(call.id, one.union(other));
                }
                (condition.add(of_yes.union(*of_no)), Some(yes.size().union(no.size())))
            }
            (_, [first, rest @ ..]) => {
                let all = rest.iter().fold(*first, |sum, cost| sum.add(*cost));
                (Range { min: first.min, max: all.max }, None)
            }
            _ => (Range::default(), None),
        }
    }

    /// The standard functions whose cost depends on sizes.
    fn of_standard(&mut self, call: &Call<'_, '_>) -> Option<Estimate> {
        let size = |i: usize| call.arguments.get(i).map(Part::size);
        match call.overload {
            "string_format" => only(call.target?.size().scale(TRAVERSE)),
            "string_to_bytes" => {
                let size = size(0)?;
                Some((size.scale(TRAVERSE), Some(Range { min: size.min, max: size.max.saturating_mul(4) })))
            }
            "bytes_to_string" => {
                let size = size(0)?;
                Some((size.scale(TRAVERSE), Some(Range { min: size.min / 4, max: size.max })))
            }
            "strings_quote" => {
                let size = size(0)?;
                let quoted = Range { min: size.min + 2, max: size.max.saturating_mul(2).saturating_add(2) };
                Some((size.scale(TRAVERSE), Some(quoted)))
            }
            "starts_with_string" | "ends_with_string" => only(size(0)?.scale(TRAVERSE)),
            "in_list" => only(size(1)?),
            "matches_string" => {
                let text = call.target?.size().add(ONE).scale(TRAVERSE);
                only(text.multiply(size(0)?.scale(REGEX)))
            }
            "contains_string" => only(call.target?.size().scale(TRAVERSE).multiply(size(0)?.scale(TRAVERSE))),
            "add_string" | "add_bytes" | "add_list" => {
                let (one, other) = (call.arguments.first()?, call.arguments.get(1)?);
                if let (Some(a), Some(b)) = (self.entry(one.expr), self.entry(other.expr)) {
                    self.entries.insert(call.id, a.union(b));
                }
                let sum = one.size().add(other.size());
                let cost = if call.overload == "add_list" { ONE } else { sum.scale(TRAVERSE) };
                Some((cost, Some(sum)))
            }
            "compare_texts" | "equals" | "not_equals" => {
                let max = size(0)?.max.min(size(1)?.max);
                only(Range { min: u64::from(max > 0), max }.scale(TRAVERSE))
            }
            _ => None,
        }
    }

    /// The functions for which Kubernetes has estimates of its own, whoever declares them.
    fn of_kubernetes(&self, call: &Call<'_, '_>) -> Option<Estimate> {
        let first = || call.arguments.first().map(Part::size);
        let target = || call.target.map(Part::size);
        match call.name {
            "check" => only(Range::fixed(AUTHORIZE)),
            "serviceAccount" | "path" | "group" | "resource" | "subresource" | "namespace" | "name" | "allowed"
            | "reason" | "error" | "errored" => only(ONE),
            "fieldSelector" | "labelSelector" => {
                let size = first()?;
                let requirements = size.scale(0.5).scale(50.0);
                only(Range::fixed(CREATE_LIST).add(size.scale(TRAVERSE)).add(requirements))
            }
            "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => only(self.each(call.target?)),
            "url" => first().map(|size| (size.scale(TRAVERSE), Some(size))),
            "lowerAscii" | "upperAscii" | "substring" | "trim" => {
                target().map(|size| (size.scale(TRAVERSE), Some(size)))
            }
            "replace" => {
                let (by, with) = (call.arguments.first()?.size(), call.arguments.get(1)?.size());
                let size = target()?;
                Some((size.scale(2.0 * TRAVERSE), Some(replaced(size, by, with))))
            }
            "split" => {
                let size = target()?;
                let max = call.arguments.get(1).and_then(integer).unwrap_or(size.max);
                Some((size.scale(2.0 * TRAVERSE), Some(Range { min: 0, max })))
            }
            "join" => {
                let list = call.target?;
                let mut size = self.item(list).map_or(Range::default(), |item| list.size().multiply(item));
                if let Some(separator) = call.arguments.first() {
                    let less = |n: u64| n.saturating_sub(1);
                    let times = Range { min: less(list.size().min), max: less(list.size().max) };
                    size = size.add(separator.size().multiply(times));
                }
                Some((size.scale(TRAVERSE), Some(size)))
            }
            "find" | "findAll" => {
                let size = target()?;
                let cost = size.add(ONE).scale(TRAVERSE).multiply(first()?.scale(REGEX));
                Some((cost, Some(Range { min: 0, max: size.max })))
            }
            "ip" if call.overload == "cidr_ip" => only(ONE),
            "ip" | "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => {
                only(first()?.scale(TRAVERSE))
            }
            "ip.isCanonical" => only(first()?.scale(2.0 * TRAVERSE)),
            "containsIP" | "containsCIDR" => only(containment(call)?),
            "validate" => only(first()?.scale(TRAVERSE).scale(FORMAT_REGEX * REGEX)),
            "masked"
            | "prefixLength"
            | "family"
            | "isUnspecified"
            | "isLoopback"
            | "isLinkLocalMulticast"
            | "isLinkLocalUnicast"
            | "isGlobalUnicast"
            | "format.named"
            | "sign"
            | "asInteger"
            | "isInteger"
            | "asApproximateFloat"
            | "isGreaterThan"
            | "isLessThan"
            | "compareTo"
            | "add"
            | "sub"
            | "major"
            | "minor"
            | "patch"
            | "getScheme"
            | "getHostname"
            | "getHost"
            | "getPort"
            | "getEscapedPath"
            | "getQuery" => only(ONE),
            "_==_" => equality(call),
            _ => None,
        }
    }

    /// The size of a list's items; none if it is no list.
    fn item(&self, list: &Part<'_>) -> Option<Range> {
        let is_list = matches!(list.ty, Type::List(_) | Type::Map(..) | Type::Optional(_));
        let declared = (!list.way.is_empty()).then(|| self.declared(&step(&list.way, "@items"))).flatten();
        is_list.then(|| declared.unwrap_or(Range::UNKNOWN))
    }

    /// To look at each item of a list, or at a text.
    fn each(&self, target: &Part<'_>) -> Range {
        match (target.ty, self.item(target)) {
            (Type::List(item), Some(size)) if matches!(**item, Type::String | Type::Bytes) => {
                target.size().multiply(ONE.add(size.scale(TRAVERSE)))
            }
            (_, Some(_)) => target.size(),
            (_, None) => target.size().scale(TRAVERSE),
        }
    }
}

fn integer(part: &Part<'_>) -> Option<u64> {
    match &part.expr.expr {
        Expr::Literal(LiteralValue::Int(n)) => Some((*n.inner()).max(0) as u64),
        _ => None,
    }
}

/// The extensions for sets and lists.
fn of_extension(call: &Call<'_, '_>) -> Option<Estimate> {
    let allocating =
        |factor: f64, size: Range| Some((size.scale(factor).add(ONE).add(Range::fixed(CREATE_LIST)), Some(size)));
    let sorted = |keys: &Part<'_>| {
        let texts = matches!(keys.ty, Type::List(item) if matches!(**item, Type::String | Type::Bytes));
        allocating(if texts { 2.0 + TRAVERSE } else { 2.0 }, keys.size().multiply(keys.size()))
    };
    match call.overload {
        "list_sets_contains_list" | "list_sets_intersects_list" | "list_sets_equivalent_list" => {
            let factor = if call.overload == "list_sets_equivalent_list" { 2.0 } else { 1.0 };
            let size = call.arguments.first()?.size().multiply(call.arguments.get(1)?.size());
            only(size.scale(factor).add(ONE))
        }
        "list_slice" => {
            let start = call.arguments.first().and_then(integer).unwrap_or(0);
            let end = call.arguments.get(1).and_then(integer).unwrap_or(call.target?.size().max);
            allocating(1.0, Range::fixed(end.wrapping_sub(start)))
        }
        "list_flatten" => allocating(1.0, call.target?.size()),
        "list_flatten_int" => {
            let depth = call.arguments.first().and_then(integer).unwrap_or(u64::MAX);
            allocating(depth as f64, call.target?.size())
        }
        "lists_range" => allocating(1.0, Range::fixed(call.arguments.first().and_then(integer).unwrap_or(u64::MAX))),
        "list_reverse" => allocating(1.0, call.target?.size()),
        "list_distinct" => allocating(2.0, call.target?.size().multiply(call.target?.size())),
        "list_sort" => sorted(call.target?),
        "list_sortBy" => sorted(call.arguments.first()?),
        _ => None,
    }
}

/// How long a text becomes if some of it is replaced.
fn replaced(size: Range, by: Range, with: Range) -> Range {
    let times = |length: u64, unit: u64| (length as f64 / unit as f64).ceil() as u64;
    // Replacing nothing puts the replacement around every character.
    let (most, kept_most) = match by.min {
        0 => (size.max.saturating_add(1), size.max),
        least if with.max <= least => (0, size.max),
        least => (times(size.max, least), 0),
    };
    let (fewest, kept_least) = match by.max {
        0 => (size.min.saturating_add(1), size.min),
        longest if longest <= with.min => (0, size.min),
        longest => (times(size.min, longest), 0),
    };
    Range { min: fewest, max: most }.multiply(with).add(Range { min: kept_least, max: kept_most })
}

fn containment(call: &Call<'_, '_>) -> Option<Range> {
    let mut cost = ADDRESS.add(ADDRESS).scale(TRAVERSE);
    if call.name == "containsCIDR" {
        cost = cost.add(ADDRESS.scale(TRAVERSE)).add(ONE);
    }
    if call.overload.ends_with("_string") {
        cost = cost.add(call.arguments.first()?.size().scale(TRAVERSE));
    }
    Some(cost)
}

/// Values of the libraries are compared at once, but for formats and URLs.
fn equality(call: &Call<'_, '_>) -> Option<Estimate> {
    let [one, other] = call.arguments else { return None };
    match (one.ty, other.ty) {
        (Type::Library(a), Type::Library(b)) if a == b => match *a {
            "kubernetes.NamedFormat" => only(Range { min: 1, max: 64 }.scale(TRAVERSE)),
            "kubernetes.URL" => only(Range { min: 1, max: other.size.map_or(1, |size| size.max) }.scale(TRAVERSE)),
            _ => only(ONE),
        },
        _ => None,
    }
}
