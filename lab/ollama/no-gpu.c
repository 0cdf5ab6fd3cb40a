/* Stands in for the 600 MB GPU back end the server links against: there is no device. */
void *ggml_backend_sycl_buffer_type(int device) { (void)device; return 0; }
void *ggml_backend_sycl_init(int device) { (void)device; return 0; }
int ggml_backend_sycl_get_device_count(void) { return 0; }
