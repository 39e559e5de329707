package seed

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"time"

	"golang.org/x/image/font/basicfont"
	"golang.org/x/image/math/fixed"
)

// picture is a photo as a tablet would send it.
type picture struct {
	content []byte
	sha256  string
}

const (
	pictureWidth, pictureHeight = 360, 270
	lineHeight                  = 17 // of the built-in face of 7x13 pixels
	margin                      = 12
	jpegQuality                 = 80
	jpegEvery                   = 16 // a palette is drawn and packed much faster than a JPEG
)

// Colours of the palette.
const (
	wall uint8 = iota
	ink
	dial
	danger
)

// newPicture is an empty wall. Light tells one wall from another.
func newPicture(light uint8) *image.Paletted {
	return image.NewPaletted(image.Rect(0, 0, pictureWidth, pictureHeight), color.Palette{
		wall: color.RGBA{246, 244, 238 - light%64, 255}, ink: color.RGBA{28, 34, 46, 255},
		dial: color.RGBA{255, 255, 255, 255}, danger: color.RGBA{196, 40, 32, 255},
	})
}

// picture draws a gauge, or a tag where nothing was measured, with the place,
// the check, the reading and the time on it.
func (m maker) picture(b place, c check, r reading, at time.Time) picture {
	sum := m.sum("picture", b.name+c.rule+at.String())
	img := newPicture(sum[0])
	if r.value != "" {
		gauge(img, image.Pt(pictureWidth/2, 140), 80, float64(sum[1])/255)
	} else {
		tag(img, image.Rect(80, 62, pictureWidth-80, 200))
	}
	label(img, 1, b.name, ink)
	label(img, 2, c.code()+"  "+c.title, ink)
	label(img, -2, r.text, danger)
	label(img, -1, at.Format("2006-01-02 15:04")+" UTC", ink)
	return encode(img, sum[2]%jpegEvery == 0)
}

func encode(img image.Image, asJPEG bool) picture {
	var b bytes.Buffer
	var err error
	if asJPEG {
		err = jpeg.Encode(&b, img, &jpeg.Options{Quality: jpegQuality})
	} else {
		err = (&png.Encoder{CompressionLevel: png.BestSpeed}).Encode(&b, img)
	}
	if err != nil {
		panic("seed: internal error: encode picture: " + err.Error()) // a buffer takes every write
	}
	sum := sha256.Sum256(b.Bytes())
	return picture{b.Bytes(), hex.EncodeToString(sum[:])}
}

// gauge draws a dial with its needle at part (0 to 1) of the scale.
func gauge(img *image.Paletted, centre image.Point, radius int, part float64) {
	disc(img, centre, radius+6, ink)
	disc(img, centre, radius, dial)
	const start, sweep = 0.75 * math.Pi, 1.5 * math.Pi
	for i := range 11 {
		a := start + sweep*float64(i)/10
		stroke(img, polar(centre, float64(radius-16), a), polar(centre, float64(radius-4), a), 1, ink)
	}
	stroke(img, centre, polar(centre, float64(radius-22), start+sweep*part), 2, danger)
	disc(img, centre, 7, ink)
}

// tag draws a service tag, crossed out.
func tag(img *image.Paletted, r image.Rectangle) {
	fill(img, r.Inset(-3), ink)
	fill(img, r, dial)
	disc(img, r.Min.Add(image.Pt(18, 18)), 7, ink)
	for y := r.Min.Y + 44; y < r.Max.Y; y += 20 {
		fill(img, image.Rect(r.Min.X+14, y, r.Max.X-14, y+2), ink)
	}
	stroke(img, r.Min.Add(image.Pt(46, 14)), r.Max.Sub(image.Pt(30, 14)), 3, danger)
	stroke(img, image.Pt(r.Max.X-30, r.Min.Y+14), image.Pt(r.Min.X+46, r.Max.Y-14), 3, danger)
}

// fill, disc and span work on whole rows: a demonstration has hundreds of pictures.
func fill(img *image.Paletted, r image.Rectangle, c uint8) {
	for y := r.Min.Y; y < r.Max.Y; y++ {
		span(img, y, r.Min.X, r.Max.X, c)
	}
}

// span colours the pixels from x0 to before x1 of one row that lie inside.
func span(img *image.Paletted, y, x0, x1 int, c uint8) {
	x0, x1 = max(x0, 0), min(x1, pictureWidth)
	if y < 0 || y >= pictureHeight || x0 >= x1 {
		return
	}
	row := img.Pix[y*img.Stride+x0 : y*img.Stride+x1]
	for i := range row {
		row[i] = c
	}
}

func polar(from image.Point, distance, angle float64) image.Point {
	return image.Pt(from.X+int(math.Round(distance*math.Cos(angle))), from.Y+int(math.Round(distance*math.Sin(angle))))
}

func disc(img *image.Paletted, centre image.Point, radius int, c uint8) {
	for y := -radius; y <= radius; y++ {
		half := int(math.Sqrt(float64(radius*radius - y*y)))
		span(img, centre.Y+y, centre.X-half, centre.X+half+1, c)
	}
}

func stroke(img *image.Paletted, from, to image.Point, width int, c uint8) {
	steps := max(abs(to.X-from.X), abs(to.Y-from.Y), 1)
	for i := range steps + 1 {
		disc(img, image.Pt(from.X+(to.X-from.X)*i/steps, from.Y+(to.Y-from.Y)*i/steps), width, c)
	}
}

func abs(n int) int { return max(n, -n) }

// label writes a line of text: line 1 is the first from above, -1 the last.
func label(img *image.Paletted, line int, s string, c uint8) {
	y := margin + line*lineHeight - basicfont.Face7x13.Descent
	if line < 0 {
		y = pictureHeight - margin + (line+1)*lineHeight
	}
	dot := fixed.P(margin, y)
	for _, r := range s {
		at, mask, from, advance, ok := basicfont.Face7x13.Glyph(dot, r)
		if !ok {
			continue
		}
		alpha, _ := mask.(*image.Alpha)
		for y := at.Min.Y; y < at.Max.Y; y++ {
			for x := at.Min.X; x < at.Max.X; x++ {
				if alpha.AlphaAt(from.X+x-at.Min.X, from.Y+y-at.Min.Y).A > 0 {
					span(img, y, x, x+1, c)
				}
			}
		}
		dot.X += advance
	}
}

// certificatePicture is the scan of a calibration certificate.
func certificatePicture(number, instrument string, calibrated, expires time.Time) picture {
	img := newPicture(0)
	fill(img, img.Bounds().Inset(margin/2), dial)
	for i, line := range []string{
		"Certificate of calibration", "No. " + number, "", instrument, "",
		"calibrated " + calibrated.Format(time.DateOnly), "valid until " + expires.Format(time.DateOnly), "", "sheet 1 of 1",
	} {
		label(img, i+2, line, ink)
	}
	return encode(img, false)
}
