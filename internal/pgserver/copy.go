package pgserver

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

// Data returns the server's data folder; it goes with Stop.
func (s *Server) Data() string { return s.folder.data() }

// Standby makes a physical standby of a running server, which streams from it through a slot of its
// own. Settings are added to the server's. It accepts queries, and promotion, when Standby returns;
// the caller must Stop it.
func (s *Server) Standby(ctx context.Context, settings map[string]string) (*Server, error) {
	place, err := makeFolder(filepath.Dir(s.folder.path), s.who)
	if err != nil {
		return nil, err
	}
	standby := &Server{bundle: s.bundle, folder: place, who: s.who, password: s.password, log: s.log}
	err = standby.baseBackup(ctx, s.port)
	if err == nil {
		err = standby.configure(renderLines(settings))
	}
	if err == nil {
		err = standby.boot(ctx)
	}
	if err != nil {
		_ = place.remove()
		return nil, err
	}
	return standby, nil
}

// baseBackup fills the data folder from the server at a port.
func (s *Server) baseBackup(ctx context.Context, port int) error {
	target := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=postgres", port, Superuser)
	slot := "standby_" + strconv.Itoa(os.Getpid()) + "_" + filepath.Base(s.folder.path)[len(folderPrefix):]
	cmd := s.command(ctx, "pg_basebackup", "-d", target, "-D", s.folder.data(), "-X", "stream", "-c", "fast", "-R", "-C", "-S", slot, "--no-sync")
	cmd.Env = append(cmd.Env, "PGPASSWORD="+s.password) // every account can read arguments
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copying the server at %s: %w: %s", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), err, tail(string(output)))
	}
	return nil
}

// Image is a copy of a server's data.
type Image struct{ path string }

// TakeImage copies the data of a halted server; it goes with Stop.
func (s *Server) TakeImage(ctx context.Context) (Image, error) {
	path, err := os.MkdirTemp(s.folder.path, "image-")
	if err != nil {
		return Image{}, fmt.Errorf("making a folder for an image: %w", err)
	}
	return Image{path: path}, copyFolder(ctx, s.folder.data(), path)
}

// Revert puts an image in the place of a halted server's data.
func (s *Server) Revert(ctx context.Context, image Image) error {
	if err := os.RemoveAll(s.folder.data()); err != nil {
		return fmt.Errorf("removing the server's data: %w", err)
	}
	if err := os.Mkdir(s.folder.data(), 0o700); err != nil {
		return fmt.Errorf("making the data folder: %w", err)
	}
	if err := s.who.own(s.folder.data()); err != nil {
		return err
	}
	return copyFolder(ctx, image.path, s.folder.data())
}

// copyFolder copies what a folder holds, owners and modes with it.
func copyFolder(ctx context.Context, from, to string) error {
	if output, err := exec.CommandContext(ctx, "cp", "-a", from+"/.", to).CombinedOutput(); err != nil { //nolint:gosec // our own folders
		return fmt.Errorf("copying the server's data: %w: %s", err, tail(string(output)))
	}
	return nil
}
