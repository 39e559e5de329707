//go:build !linux

package api_test

import "errors"

func mountSmall(string) (func() error, error) {
	return nil, errors.New("not on this system")
}
