package change

// The devices that a model runs on. DeviceAuto is the first of the others that works.
const (
	DeviceAuto   = "auto"
	DeviceCUDA   = "cuda"
	DeviceCoreML = "coreml"
	DeviceCPU    = "cpu"
)

// The precisions that a model computes in. PrecisionAuto leaves it to the device. Precision is not
// part of the vector space: what differs in it alone may be compared.
const (
	PrecisionAuto = "auto"
	PrecisionFP32 = "fp32"
	PrecisionFP16 = "fp16"
	PrecisionINT8 = "int8"
)

// The column types of a vector table: 4 or 2 bytes a component.
const (
	StorageVector  = "vector"
	StorageHalfvec = "halfvec"
)
