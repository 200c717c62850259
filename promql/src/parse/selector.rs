//! Selectors: a metric's name and matchers.

use crate::ast::{Expr, Selector};
use crate::labels::METRIC_NAME;
use crate::matcher::{MatchOp, Matcher};

use super::MAX_PATTERNS;
use super::parser::{Parsed, Parser, Stop};
use super::token::{Kind, Token};
use crate::ast::{BinaryOp, Span};

impl Parser<'_> {
    /// A selector whose name, if it has one before the braces, was taken.
    pub(super) fn selector(&mut self, name: Option<Token<'_>>) -> Parsed<Expr> {
        self.bare_selector(name).map(Expr::Selector)
    }

    /// Nothing but a selector.
    pub(super) fn only_selector(&mut self) -> Parsed<Selector> {
        let token = self.peek()?;
        let name = if token.is_metric_name() {
            Some(self.take()?)
        } else if token.kind == Kind::LeftBrace {
            None
        } else {
            return self.unexpected_here();
        };
        let selector = self.bare_selector(name)?;
        match self.peek()?.kind {
            Kind::End => Ok(selector),
            _ => self.unexpected_here(),
        }
    }

    fn bare_selector(&mut self, name: Option<Token<'_>>) -> Parsed<Selector> {
        let mut span = name.map_or_else(Span::default, |name| name.span);
        let mut matchers = Vec::new();
        if self.peek()?.kind == Kind::LeftBrace {
            let braces;
            (matchers, braces) = self.matchers()?;
            span = if name.is_some() { span.to(braces) } else { braces };
        }
        let name = name.map(|name| name.text.to_owned());
        if let Some(name) = &name {
            matchers.extend(Matcher::new(METRIC_NAME, MatchOp::Equal, name.as_str()));
        }
        Ok(Selector {
            name,
            matchers,
            offset_ms: 0,
            offset_expr: None,
            at: None,
            span,
        })
    }

    fn matchers(&mut self) -> Parsed<(Vec<Matcher>, Span)> {
        let open = self.take()?;
        let mut matchers = Vec::new();
        let close = loop {
            // A comma may end the list, but not begin it.
            if let Some(close) = self.take_if(Kind::RightBrace)? {
                break close;
            }
            matchers.extend(self.matcher()?);
            if let Some(close) = self.take_if(Kind::RightBrace)? {
                break close;
            }
            if self.take_if(Kind::Comma)?.is_none() {
                return self.unexpected(" in label matching, expected \",\" or \"}\"");
            }
        };
        Ok((matchers, open.span.to(close.span)))
    }

    /// A condition, or a metric's name in quotes. `None`: a fault of meaning was reported.
    fn matcher(&mut self) -> Parsed<Option<Matcher>> {
        let label = self.peek()?;
        let name = match label.kind {
            Kind::Identifier => {
                self.take()?;
                label.text.to_owned()
            }
            Kind::String => {
                self.take()?;
                let bytes = self.unquoted(label);
                self.utf8(bytes, label)
            }
            _ => return self.unexpected(" in label matching, expected identifier or \"}\""),
        };
        let op = match self.peek()?.kind {
            Kind::Equal => MatchOp::Equal,
            Kind::Operator(BinaryOp::Ne) => MatchOp::NotEqual,
            Kind::EqualRegex => MatchOp::Regex,
            Kind::NotRegex => MatchOp::NotRegex,
            _ if label.kind == Kind::String => {
                return Ok(Matcher::new(METRIC_NAME, MatchOp::Equal, name).ok());
            }
            _ => return self.unexpected(" in label matching, expected label matching operator"),
        };
        self.take()?;
        if self.peek()?.kind != Kind::String {
            return self.unexpected(" in label matching, expected string");
        }
        let token = self.take()?;
        let bytes = self.unquoted(token);
        let value = self.utf8(bytes, token);
        let span = label.span.to(token.span);
        if matches!(op, MatchOp::Regex | MatchOp::NotRegex) {
            self.patterns += 1;
            if self.patterns > MAX_PATTERNS {
                self.report(span, format!("more than {MAX_PATTERNS} regular expressions"));
                return Err(Stop);
            }
        }
        let matcher = match self.cache {
            Some(cache) => Matcher::cached(name, op, value, cache),
            None => Matcher::new(name, op, value),
        };
        match matcher {
            Ok(matcher) => Ok(Some(matcher)),
            Err(error) => {
                self.report(span, error.to_string());
                Ok(None)
            }
        }
    }

    /// A text; label names and values have no other bytes here.
    fn utf8(&mut self, bytes: Vec<u8>, token: Token<'_>) -> String {
        String::from_utf8(bytes).unwrap_or_else(|_| {
            self.report(
                token.span,
                format!("label matching needs UTF-8, got {}", token.text),
            );
            String::new()
        })
    }
}
