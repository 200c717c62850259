//! A query's text as tokens, by Prometheus's rules and with its messages.
//!
//! What a character means depends on the brackets around it: between braces words are no keywords; behind `[`, up to
//! the first number, only duration expressions may stand, and after it a letter counts as a colon.

use crate::ast::{BinaryOp, Span};
use crate::number::go_quote_char;

use super::token::{Kind, Token, keyword};
use super::{number, text};

/// Why there is no token: a message and where it begins.
#[derive(Debug)]
pub(super) struct LexError {
    pub(super) message: String,
    pub(super) span: Span,
}

/// Reads tokens one by one.
pub(super) struct Lexer<'q> {
    query: &'q str,
    at: usize,
    start: usize,
    paren_depth: i32,
    in_braces: bool,
    in_bracket: bool,
    /// In a bracket, before its first number.
    bracket_begins: bool,
    had_colon: bool,
    /// Prometheus never forgets that there was one.
    had_duration: bool,
}

type Lexed = Result<Kind, String>;

impl<'q> Lexer<'q> {
    pub(super) fn new(query: &'q str) -> Self {
        Self {
            query,
            at: 0,
            start: 0,
            paren_depth: 0,
            in_braces: false,
            in_bracket: false,
            bracket_begins: false,
            had_colon: false,
            had_duration: false,
        }
    }

    /// The next token; at the end always [`Kind::End`].
    pub(super) fn next(&mut self) -> Result<Token<'q>, LexError> {
        self.skip_blank();
        self.start = self.at;
        let kind = if self.in_braces {
            self.inside_braces()
        } else if self.bracket_begins {
            self.bracket_start()
        } else {
            self.anywhere()
        };
        let span = Span {
            start: self.start,
            end: self.at,
        };
        match kind {
            Ok(kind) => Ok(Token {
                kind,
                text: &self.query[self.start..self.at],
                span,
            }),
            Err(message) => Err(LexError {
                message,
                span: Span {
                    start: self.start,
                    end: self.query.len(),
                },
            }),
        }
    }

    fn rest(&self) -> &'q str {
        &self.query[self.at..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    /// Takes a text if it comes next.
    fn take_if(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
            if self.bracket_begins || !self.rest().starts_with('#') {
                return;
            }
            self.at += self.rest().find(['\n', '\r']).unwrap_or(self.rest().len());
        }
    }

    fn anywhere(&mut self) -> Lexed {
        let Some(c) = self.take() else {
            return self.end();
        };
        match c {
            '(' | ')' | '+' | '-' | '*' | '/' | '%' | '^' | ',' => self.shared(c),
            '=' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    Ok(Kind::Operator(BinaryOp::Eq))
                }
                Some('~') => Err("unexpected character after '=': '~'".to_owned()),
                _ => Ok(Kind::Equal),
            },
            '!' => match self.peek() {
                Some('=') => {
                    self.at += 1;
                    Ok(Kind::Operator(BinaryOp::Ne))
                }
                other => Err(unexpected("unexpected character after '!': ", other)),
            },
            '<' if self.take_if("=") => Ok(Kind::Operator(BinaryOp::Le)),
            '<' => Ok(Kind::Operator(BinaryOp::Lt)),
            '>' if self.take_if("=") => Ok(Kind::Operator(BinaryOp::Ge)),
            '>' => Ok(Kind::Operator(BinaryOp::Gt)),
            '@' => Ok(Kind::At),
            '"' | '\'' | '`' => self.string(c),
            '{' => {
                self.in_braces = true;
                Ok(Kind::LeftBrace)
            }
            '[' if self.in_bracket => Err("unexpected left bracket '['".to_owned()),
            '[' => {
                self.in_bracket = true;
                self.bracket_begins = true;
                self.had_colon = false;
                Ok(Kind::LeftBracket)
            }
            ']' if self.in_bracket => {
                self.in_bracket = false;
                Ok(Kind::RightBracket)
            }
            ']' => Err("unexpected right bracket ']'".to_owned()),
            c if self.starts_number(c) => self.number(),
            c if is_alpha(c) || c == ':' => {
                if self.in_bracket {
                    self.colon(c)
                } else {
                    self.word();
                    Ok(word_kind(&self.query[self.start..self.at]))
                }
            }
            c => Err(unexpected("unexpected character: ", Some(c))),
        }
    }

    /// Tokens that are the same inside and outside of brackets.
    fn shared(&mut self, c: char) -> Lexed {
        Ok(match c {
            '(' => {
                self.paren_depth += 1;
                Kind::LeftParen
            }
            ')' => {
                self.paren_depth -= 1;
                if self.paren_depth < 0 {
                    self.start = self.at;
                    return Err("unexpected right parenthesis ')'".to_owned());
                }
                Kind::RightParen
            }
            '+' => Kind::Operator(BinaryOp::Add),
            '-' => Kind::Operator(BinaryOp::Sub),
            '*' => Kind::Operator(BinaryOp::Mul),
            '/' => Kind::Operator(BinaryOp::Div),
            '%' => Kind::Operator(BinaryOp::Mod),
            '^' => Kind::Operator(BinaryOp::Pow),
            _ => Kind::Comma,
        })
    }

    fn end(&mut self) -> Lexed {
        if self.paren_depth != 0 {
            Err("unclosed left parenthesis".to_owned())
        } else if self.in_bracket {
            Err("unclosed left bracket".to_owned())
        } else {
            Ok(Kind::End)
        }
    }

    /// In a bracket after its first number, where Prometheus takes any letter for a colon.
    fn colon(&mut self, c: char) -> Lexed {
        if self.had_colon {
            return Err(unexpected("unexpected colon ", Some(c)));
        }
        self.had_colon = true;
        Ok(Kind::Colon)
    }

    /// In a bracket before its first number.
    fn bracket_start(&mut self) -> Lexed {
        let Some(c) = self.take() else {
            return Err("unexpected end of input in duration expression".to_owned());
        };
        match c {
            ']' => {
                self.in_bracket = false;
                self.bracket_begins = false;
                self.had_colon = false;
                Ok(Kind::RightBracket)
            }
            ':' => {
                let problem = if !self.had_duration {
                    "unexpected colon before duration in duration expression"
                } else if self.had_colon {
                    "unexpected repeated colon in duration expression"
                } else {
                    self.had_colon = true;
                    return Ok(Kind::Colon);
                };
                self.start = self.at;
                Err(problem.to_owned())
            }
            '(' | ')' | '+' | '-' | '*' | '/' | '%' | '^' => self.shared(c),
            c if self.starts_number(c) => {
                self.had_duration = true;
                self.bracket_begins = false;
                self.number()
            }
            c => Err(unexpected(
                "unexpected character in duration expression: ",
                Some(c),
            )),
        }
    }

    fn inside_braces(&mut self) -> Lexed {
        let Some(c) = self.take() else {
            return Err("unexpected end of input inside braces".to_owned());
        };
        match c {
            ',' => Ok(Kind::Comma),
            '"' | '\'' | '`' => self.string(c),
            '=' if self.take_if("~") => Ok(Kind::EqualRegex),
            '=' => Ok(Kind::Equal),
            '!' if self.take_if("~") => Ok(Kind::NotRegex),
            '!' if self.take_if("=") => Ok(Kind::Operator(BinaryOp::Ne)),
            '!' => Err(unexpected(
                "unexpected character after '!' inside braces: ",
                self.peek(),
            )),
            '{' => Err("unexpected left brace '{'".to_owned()),
            '}' => {
                self.in_braces = false;
                Ok(Kind::RightBrace)
            }
            c if is_alpha(c) => {
                let rest = self.rest();
                self.at += rest.find(|c: char| !is_alphanumeric(c)).unwrap_or(rest.len());
                Ok(Kind::Identifier)
            }
            c => Err(unexpected("unexpected character inside braces: ", Some(c))),
        }
    }

    fn string(&mut self, quote: char) -> Lexed {
        self.at += text::literal_len(self.rest(), quote)?;
        Ok(Kind::String)
    }

    fn starts_number(&self, c: char) -> bool {
        c.is_ascii_digit() || (c == '.' && self.peek().is_some_and(|next| next.is_ascii_digit()))
    }

    /// A number or duration whose first character was taken.
    fn number(&mut self) -> Lexed {
        let (len, kind) = number::scan(&self.query[self.start..]);
        self.at = self.start + len;
        match kind {
            Some(number::Scanned::Number) => Ok(Kind::Number),
            Some(number::Scanned::Duration) => Ok(Kind::Duration),
            None => {
                let text = &self.query[self.start..self.at];
                Err(format!(
                    "bad number or duration syntax: {}",
                    crate::number::go_quote(text.as_bytes())
                ))
            }
        }
    }

    /// Takes the rest of a word, colons included.
    fn word(&mut self) {
        let rest = self.rest();
        let len = rest.find(|c: char| !(is_alphanumeric(c) || c == ':'));
        self.at += len.unwrap_or(rest.len());
    }
}

fn word_kind(word: &str) -> Kind {
    match keyword(word) {
        Some(kind) => kind,
        None if word.contains(':') => Kind::MetricIdentifier,
        None => Kind::Identifier,
    }
}

/// A message with a character, or with what Go's lexer has at the end of the text.
fn unexpected(message: &str, c: Option<char>) -> String {
    format!(
        "{message}{}",
        go_quote_char(c.unwrap_or(char::REPLACEMENT_CHARACTER))
    )
}

fn is_alpha(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

fn is_alphanumeric(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}
