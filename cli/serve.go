package cli

import (
	"fmt"
	"net"
	"strconv"

	"github.com/spf13/cobra"
)

func serveCommand(deps Deps) *cobra.Command {
	var httpAddr, diagAddr string
	c := &cobra.Command{
		Use:   "serve",
		Short: "Answer requests until told to stop",
		Long: `Start the server: the API, the admin UI, the documentation and a landing page on
one address, diagnostics (metrics, memory, profiles) on another.

The data directory is made and brought up to date first. When the server answers,
its addresses are printed; GET /health/ready is 200 from then on. SIGINT or
SIGTERM stops it: new requests are refused, acknowledged work is finished.

The addresses come from FIREMODE_HTTP and FIREMODE_DIAG; the flags override them.`,
		Example: `  firemode serve
  firemode serve --http 0.0.0.0:8080`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for flag, addr := range map[string]string{"http": httpAddr, "diag": diagAddr} {
				if err := checkAddress(addr); err != nil {
					return fmt.Errorf("--%s: %w", flag, err)
				}
			}
			return deps.Serve(c.Context(), httpAddr, diagAddr)
		},
	}
	c.Flags().StringVar(&httpAddr, "http", deps.HTTP, "address of the API and the user interfaces, host:port")
	c.Flags().StringVar(&diagAddr, "diag", deps.Diag, "address of the diagnostics, host:port on the loopback interface")
	return c
}

// checkAddress accepts host:port as the listener does. Whether it is free, and
// a loopback address where it must be, is found when it is opened.
func checkAddress(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port", addr)
	}
	return nil
}
