package config

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/go-viper/mapstructure/v2"
)

// told says what the decoder found as validate does: a line for each fault, the setting first.
func told(err error) error {
	var fault *mapstructure.DecodeError
	many, isMany := err.(interface{ Unwrap() []error })
	switch {
	case isMany:
		var errs []error
		for _, e := range many.Unwrap() {
			errs = append(errs, told(e))
		}
		return errors.Join(errs...)
	case !errors.As(err, &fault):
		return err
	case err != error(fault): // the decoder's headline
		return told(errors.Unwrap(err))
	}
	var unfit *mapstructure.UnconvertibleTypeError
	if errors.As(fault, &unfit) {
		return fmt.Errorf("%s: must be %s", fault.Name(), kind(unfit.Expected.Type()))
	}
	text := fault.Unwrap().Error()
	if keys, ok := strings.CutPrefix(text, "has invalid keys: "); ok {
		var errs []error
		for key := range strings.SplitSeq(keys, ", ") {
			errs = append(errs, fmt.Errorf("%s: there is no such setting", strings.TrimPrefix(fault.Name()+"."+key, ".")))
		}
		return errors.Join(errs...)
	}
	for words, kind := range map[string]string{"source data must be an array or slice": "a list", "expected a map": "a group of settings"} {
		if strings.HasPrefix(text, words) {
			return fmt.Errorf("%s: must be %s", fault.Name(), kind)
		}
	}
	return fmt.Errorf("%s: %s", fault.Name(), text)
}

// kind says what a value of the type is to somebody who writes it down.
func kind(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Duration]():
		return "a duration such as 90s, 12h or 7d"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Int, t.Kind() == reflect.Uint32:
		return "a whole number"
	case t.Kind() == reflect.Slice:
		return "a list"
	case t.Kind() == reflect.Map:
		return "pairs of name and value"
	}
	return "a text"
}

// Span writes a duration as it would be written into the file: 7d, 12h, 90s.
func Span(d time.Duration) string {
	const day = 24 * time.Hour
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
