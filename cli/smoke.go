package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"firemode/cli/seed"

	"github.com/spf13/cobra"
)

const (
	smokeTimeout = 10 * time.Second
	// smokeMaxBytes bounds an answer, the OpenAPI document being the largest.
	smokeMaxBytes = 8 << 20
)

func smokeCommand(deps Deps) *cobra.Command {
	var base, user, password string
	c := &cobra.Command{
		Use:   "smoke",
		Short: "Check a running server from outside",
		Long: `Ask a running server what an operator wants to know after starting it: is it alive
and ready, are its documentation and admin UI there, can a user log in, list
buildings and sessions and log out, and is the token dead afterwards. Nothing but
the login is written. The first failure ends it with an error.`,
		Example: `  firemode smoke
  firemode smoke --url https://firemode.example.org --user ops --password "$PASSWORD"`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			parsed, err := url.Parse(base)
			if err != nil || parsed.Host == "" || parsed.Scheme != "http" && parsed.Scheme != "https" {
				return fmt.Errorf("--url %q: must be like http://127.0.0.1:5000", base)
			}
			s := smoke{base: strings.TrimRight(base, "/"), out: c.ErrOrStderr(), client: &http.Client{Timeout: smokeTimeout}}
			return s.run(c.Context(), user, password)
		},
	}
	c.Flags().StringVar(&base, "url", "http://"+deps.HTTP, "address of the server")
	c.Flags().StringVar(&user, "user", demoUsername, "username or e-mail address to log in with")
	c.Flags().StringVar(&password, "password", seed.DemoPassword, "its password")
	return c
}

// smoke asks one server.
type smoke struct {
	base   string
	out    io.Writer
	client *http.Client
}

func (s smoke) run(ctx context.Context, user, password string) error {
	for _, path := range []string{"/health/live", "/health/ready", "/health", "/openapi.json", "/docs", "/_/"} {
		if err := s.get(ctx, path, "", http.StatusOK); err != nil {
			return err
		}
	}
	if err := s.get(ctx, "/v1/buildings", "", http.StatusUnauthorized); err != nil {
		return err
	}
	token, err := s.login(ctx, user, password)
	if err != nil {
		return err
	}
	for _, path := range []string{"/v1/users/me", "/v1/buildings?limit=5", "/v1/tests/sessions?limit=5"} {
		if err := s.get(ctx, path, token, http.StatusOK); err != nil {
			return err
		}
	}
	if _, err := s.do(ctx, http.MethodPost, "/v1/auth/logout", token, nil, 0); err != nil {
		return err
	}
	return s.get(ctx, "/v1/buildings", token, http.StatusUnauthorized)
}

func (s smoke) get(ctx context.Context, path, token string, want int) error {
	_, err := s.do(ctx, http.MethodGet, path, token, nil, want)
	return err
}

// login uses PocketBase's own route, which every version of the API has.
func (s smoke) login(ctx context.Context, user, password string) (string, error) {
	body, err := json.Marshal(map[string]string{"identity": user, "password": password})
	if err != nil {
		return "", err
	}
	answer, err := s.do(ctx, http.MethodPost, "/api/collections/users/auth-with-password", "", body, http.StatusOK)
	if err != nil {
		return "", err
	}
	var login struct {
		Token string `json:"token"`
	}
	if err := json.Unmarshal(answer, &login); err != nil || login.Token == "" {
		return "", errors.New("log in: the answer holds no token")
	}
	return login.Token, nil
}

// do sends one request, says how it went and checks the status; want 0 is any of 2xx.
func (s smoke) do(ctx context.Context, method, path, token string, body []byte, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	start := time.Now()
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w (is the server running?)", method, path, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, smokeMaxBytes))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, path, err)
	}
	fmt.Fprintf(s.out, "%-4s %-45s %d  %s\n", method, path, res.StatusCode, time.Since(start).Round(time.Millisecond))
	if res.StatusCode == want || want == 0 && res.StatusCode/100 == 2 {
		return answer, nil
	}
	expected := fmt.Sprint(want)
	if want == 0 {
		expected = "2xx"
	}
	return nil, fmt.Errorf("%s %s answered %d, want %s: %.300s", method, path, res.StatusCode, expected, answer)
}
