// wal2vec's operators for ONNX Runtime, of the domain "wal2vec": Embed, EncoderLayer and Pool. See kernels.h for what they compute and
// models/bert_int8.go for the graph that holds them.

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels.h"
#include "onnxruntime_c_api.h"

static const OrtApi *api;

typedef struct kernel kernel;

// operator is an OrtCustomOp with what tells one from another; the first element has to be the runtime's structure.
typedef struct {
	OrtCustomOp op;
	const char *name;
	const char *inputs; // a letter an input: f float32, i int32, b int8
	OrtStatus *(*compute)(const kernel *k, OrtKernelContext *context);
} operator;

// kernel is a node of a graph.
struct kernel {
	const operator *op;
	float epsilon;
	int64_t heads, first, normalise;
};

static OrtStatus *wrong(const char *what) { return api->CreateStatus(ORT_INVALID_ARGUMENT, what); }

// ---- Tensors.

typedef struct {
	const void *at;
	size_t count;
} tensor;

enum { MOST_INPUTS = 24 };

// read takes all inputs.
static OrtStatus *read(const kernel *k, OrtKernelContext *context, tensor *inputs) {
	for (size_t i = 0; k->op->inputs[i]; i++) {
		const OrtValue *value;
		OrtTensorTypeAndShapeInfo *info;
		OrtStatus *status = api->KernelContext_GetInput(context, i, &value);
		if (status == NULL) status = api->GetTensorMutableData((OrtValue *)value, (void **)&inputs[i].at);
		if (status == NULL) status = api->GetTensorTypeAndShape(value, &info);
		if (status != NULL) return status;
		status = api->GetTensorShapeElementCount(info, &inputs[i].count);
		api->ReleaseTensorTypeAndShapeInfo(info);
		if (status != NULL) return status;
	}
	return NULL;
}

static OrtStatus *write(OrtKernelContext *context, int64_t rows, int64_t width, float **out) {
	OrtValue *value;
	OrtStatus *status = api->KernelContext_GetOutput(context, 0, (int64_t[]){rows, width}, 2, &value);
	return status != NULL ? status : api->GetTensorMutableData(value, (void **)out);
}

// texts checks where texts start and returns their number, or -1.
static int64_t texts(tensor starts, int64_t rows) {
	const int32_t *at = starts.at;
	if (starts.count < 2 || at[0] != 0) return -1;
	for (size_t i = 1; i < starts.count; i++)
		if (at[i] <= at[i - 1]) return -1;
	return at[starts.count - 1] == rows ? (int64_t)starts.count - 1 : -1;
}

// ---- The operators.

static OrtStatus *compute_embed(const kernel *k, OrtKernelContext *context) {
	tensor in[MOST_INPUTS]; // ids, starts, words, places, scale, bias
	float *y;
	OrtStatus *status = read(k, context, in);
	if (status != NULL) return status;
	int64_t hidden = (int64_t)in[4].count, rows = (int64_t)in[0].count, n = texts(in[1], rows);
	if (n < 1) return wrong("Embed: the texts' starts do not fit the ids");
	if (hidden < 1 || hidden % 64 != 0 || in[5].count != in[4].count) return wrong("Embed: the sizes do not fit together");
	if ((status = write(context, rows, hidden, &y)) != NULL) return status;
	norm layer_norm = {in[4].at, in[5].at, k->epsilon};
	if (embed(in[0].at, in[1].at, n, in[2].at, (int64_t)in[2].count / hidden, in[3].at, (int64_t)in[3].count / hidden, hidden, &layer_norm, y) != 0)
		return wrong("Embed: an id is outside of the vocabulary, or a text is too long");
	return NULL;
}

static int make_linear(const tensor *in, int64_t from, int64_t to, linear *l) {
	*l = (linear){from, to, in[0].at, in[1].at, in[2].at, in[3].at};
	size_t columns = (size_t)to, scales = (size_t)(from / GROUP) * columns;
	return in[0].count == (size_t)(from * to) && in[1].count == scales && in[2].count == columns && in[3].count == scales &&
		from % GROUP == 0 && to % 64 == 0;
}

static OrtStatus *compute_layer(const kernel *k, OrtKernelContext *context) {
	// x, starts; weight, scale, bias and sum of qkv and of out; a norm's scale and bias; the same of up and of down; a norm
	tensor in[MOST_INPUTS];
	float *y;
	OrtStatus *status = read(k, context, in);
	if (status != NULL) return status;
	int64_t hidden = (int64_t)in[10].count, inner = (int64_t)in[14].count;
	if (hidden < 1 || in[0].count % (size_t)hidden != 0) return wrong("EncoderLayer: the sizes do not fit together");
	int64_t rows = (int64_t)in[0].count / hidden, n = texts(in[1], rows);
	if (n < 1) return wrong("EncoderLayer: the texts' starts do not fit the rows");
	layer l = {.hidden = hidden, .inner = inner, .heads = k->heads};
	int fit = make_linear(in + 2, hidden, 3 * hidden, &l.qkv) && make_linear(in + 6, hidden, hidden, &l.out) &&
		make_linear(in + 12, hidden, inner, &l.up) && make_linear(in + 16, inner, hidden, &l.down);
	fit = fit && in[11].count == in[10].count && in[20].count == in[10].count && in[21].count == in[10].count;
	if (!fit || k->heads < 1 || k->heads > hidden || hidden % (32 * k->heads) != 0) return wrong("EncoderLayer: the sizes do not fit together");
	l.attended = (norm){in[10].at, in[11].at, k->epsilon};
	l.done = (norm){in[20].at, in[21].at, k->epsilon};
	if ((status = write(context, rows, hidden, &y)) != NULL) return status;
	if (encode_layer(&l, in[0].at, in[1].at, n, y) != 0) return api->CreateStatus(ORT_FAIL, "EncoderLayer: out of memory");
	return NULL;
}

static OrtStatus *compute_pool(const kernel *k, OrtKernelContext *context) {
	tensor in[MOST_INPUTS]; // x, starts, a tensor of the hidden size
	float *y;
	OrtStatus *status = read(k, context, in);
	if (status != NULL) return status;
	int64_t hidden = (int64_t)in[2].count;
	if (hidden < 1 || in[0].count % (size_t)hidden != 0 || hidden % 64 != 0) return wrong("Pool: the sizes do not fit together");
	int64_t n = texts(in[1], (int64_t)in[0].count / hidden);
	if (n < 1) return wrong("Pool: the texts' starts do not fit the rows");
	if ((status = write(context, n, hidden, &y)) != NULL) return status;
	pool(in[0].at, in[1].at, n, hidden, k->first != 0, k->normalise != 0, y);
	return NULL;
}

// ---- What the runtime asks of an operator.

static const operator *of(const OrtCustomOp *op) { return (const operator *)op; }

static const char *name(const OrtCustomOp *op) { return of(op)->name; }
static const char *provider(const OrtCustomOp *op) { return (void)op, NULL; } // the CPU's
static size_t input_count(const OrtCustomOp *op) {
	size_t n = 0;
	while (of(op)->inputs[n]) n++;
	return n;
}
static ONNXTensorElementDataType input_type(const OrtCustomOp *op, size_t i) {
	switch (of(op)->inputs[i]) {
	case 'i': return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
	case 'b': return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
	default: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
	}
}
static size_t output_count(const OrtCustomOp *op) { return (void)op, 1; }
static ONNXTensorElementDataType output_type(const OrtCustomOp *op, size_t i) {
	return (void)op, (void)i, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}
static OrtCustomOpInputOutputCharacteristic required(const OrtCustomOp *op, size_t i) { return (void)op, (void)i, INPUT_OUTPUT_REQUIRED; }
static OrtMemType memory(const OrtCustomOp *op, size_t i) { return (void)op, (void)i, OrtMemTypeDefault; }
static int none(const OrtCustomOp *op) { return (void)op, 0; }
static int one(const OrtCustomOp *op) { return (void)op, 1; }
static int endless(const OrtCustomOp *op) { return (void)op, 1 << 30; }

// attribute reads a number; it stays as it was where the node does not have it.
static void attribute(const OrtKernelInfo *info, const char *attribute, int64_t *to) {
	OrtStatus *status = api->KernelInfoGetAttribute_int64(info, attribute, to);
	if (status != NULL) api->ReleaseStatus(status);
}

static OrtStatus *create(const OrtCustomOp *op, const OrtApi *unused, const OrtKernelInfo *info, void **out) {
	(void)unused;
	kernel *k = calloc(1, sizeof *k);
	if (k == NULL) return api->CreateStatus(ORT_FAIL, "out of memory");
	k->op = of(op);
	OrtStatus *status = api->KernelInfoGetAttribute_float(info, "epsilon", &k->epsilon);
	if (status != NULL) api->ReleaseStatus(status);
	attribute(info, "heads", &k->heads);
	attribute(info, "first", &k->first);
	attribute(info, "normalise", &k->normalise);
	*out = k;
	return NULL;
}

static OrtStatus *compute(void *k, OrtKernelContext *context) { return ((const kernel *)k)->op->compute(k, context); }

static void destroy(void *k) { free(k); }

#define OPERATOR(NAME, INPUTS, COMPUTE)                                                                                             \
	{.op = {.version = ORT_API_VERSION, .GetName = name, .GetExecutionProviderType = provider, .GetInputType = input_type,             \
		 .GetInputTypeCount = input_count, .GetOutputType = output_type, .GetOutputTypeCount = output_count, .KernelDestroy = destroy,    \
		 .GetInputCharacteristic = required, .GetOutputCharacteristic = required, .GetInputMemoryType = memory,                           \
		 .GetVariadicInputMinArity = none, .GetVariadicInputHomogeneity = none, .GetVariadicOutputMinArity = none,                        \
		 .GetVariadicOutputHomogeneity = none, .CreateKernelV2 = create, .KernelComputeV2 = compute, .GetStartVersion = one,              \
		 .GetEndVersion = endless},                                                                                                       \
		.name = NAME, .inputs = INPUTS, .compute = COMPUTE}

static operator operators[] = {
	OPERATOR("Embed", "iiffff", compute_embed),
	OPERATOR("EncoderLayer", "fibfffbfffffbfffbfffff", compute_layer),
	OPERATOR("Pool", "fif", compute_pool),
};

// wal2vec_register makes the operators known to the sessions of options (an OrtSessionOptions). It returns NULL or what went wrong. It is
// called by one thread at a time; the runtime is loaded already.
__attribute__((visibility("default"))) const char *wal2vec_register(const char *runtime, void *options) {
	static char problem[512];
	static OrtCustomOpDomain *domain;
	OrtStatus *status = NULL;
	if (api == NULL) {
		void *library = dlopen(runtime, RTLD_NOW | RTLD_NOLOAD);
		const OrtApiBase *(*base)(void) = library == NULL ? NULL : (const OrtApiBase *(*)(void))dlsym(library, "OrtGetApiBase");
		if (base == NULL) return "ONNX Runtime is not loaded";
		if ((api = base()->GetApi(ORT_API_VERSION)) == NULL) return "ONNX Runtime is older than the operators";
	}
	if (domain == NULL) {
		OrtCustomOpDomain *made;
		status = api->CreateCustomOpDomain("wal2vec", &made);
		for (size_t i = 0; status == NULL && i < sizeof operators / sizeof *operators; i++)
			status = api->CustomOpDomain_Add(made, &operators[i].op);
		if (status == NULL) domain = made;
	}
	if (status == NULL) status = api->AddCustomOpDomain(options, domain);
	if (status == NULL) return NULL;
	snprintf(problem, sizeof problem, "%s", api->GetErrorMessage(status));
	api->ReleaseStatus(status);
	return problem;
}
