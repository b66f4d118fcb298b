package wire

import "bytes"

// scanner walks over JSON text. It finds where values end and leaves what is
// in them to others.
type scanner struct {
	b []byte
	i int
}

// Members calls member with the name, escapes and all, and the text of each
// member of doc, a JSON object that was found valid. It reports false when doc
// is another value.
func Members(doc []byte, member func(name, value []byte) error) (bool, error) {
	s := scanner{b: doc}
	if s.space() != '{' {
		return false, nil
	}
	return true, s.object(func(name []byte) error {
		start := s.i
		if err := s.skip(); err != nil {
			return err
		}
		return member(name, s.b[start:s.i])
	})
}

// space passes over white space and returns the byte after it, 0 at the end.
func (s *scanner) space() byte {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r':
			s.i++
		default:
			return s.b[s.i]
		}
	}
	return 0
}

// object walks over the members of the object that begins here. member is
// called with a name, escapes and all, when the scanner stands at its value,
// and passes over it.
func (s *scanner) object(member func(name []byte) error) error {
	s.i++ // {
	if s.space() == '}' {
		s.i++
		return nil
	}
	for {
		if s.space() != '"' {
			return ErrNotJSON
		}
		start := s.i
		if err := s.str(); err != nil {
			return err
		}
		name := s.b[start+1 : s.i-1]
		if s.space() != ':' {
			return ErrNotJSON
		}
		s.i++
		if s.space() == 0 {
			return ErrNotJSON
		}
		if err := member(name); err != nil {
			return err
		}
		switch s.space() {
		case ',':
			s.i++
		case '}':
			s.i++
			return nil
		default:
			return ErrNotJSON
		}
	}
}

// str passes over the string that begins here.
func (s *scanner) str() error {
	s.i++
	for {
		n := bytes.IndexByte(s.b[s.i:], '"')
		if n < 0 {
			return ErrNotJSON
		}
		s.i += n + 1
		escapes := 0
		for k := s.i - 2; s.b[k] == '\\'; k-- {
			escapes++
		}
		if escapes&1 == 0 {
			return nil
		}
	}
}

// skip passes over the value that begins here. Of a number or a name it takes
// every byte that could belong to one.
func (s *scanner) skip() error {
	depth := 0
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			if err := s.str(); err != nil {
				return err
			}
		case '{', '[':
			s.i++
			if depth++; depth > maxDepth {
				return ErrTooDeep
			}
			continue
		case '}', ']':
			if depth == 0 {
				return ErrNotJSON
			}
			s.i++
			depth--
		case ' ', '\t', '\n', '\r', ',', ':':
			if depth == 0 {
				return ErrNotJSON
			}
			s.i++
			continue
		default:
			s.token()
		}
		if depth == 0 {
			return nil
		}
	}
	return ErrNotJSON
}

// token passes over a number, true, false, null, or what pretends to be one.
func (s *scanner) token() {
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case ' ', '\t', '\n', '\r', ',', ':', '{', '}', '[', ']', '"':
			return
		}
		s.i++
	}
}
